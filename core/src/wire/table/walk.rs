//! The interpreter of the tables.

use super::super::read::{Reader, Stop};
use super::super::{Malformed, Step};
use super::{Field, Kind, Schema, Value, Values, extent, value};

/// The most structs that are open at once in any table.
const DEPTH: usize = if cfg!(feature = "group-admin") { 5 } else { 4 };

/// A piece of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Piece {
    /// A segment: the plain fields of a struct (its index in the schema) from a field (its index
    /// in the struct) on. The values are in the list that was given to the step.
    Fields(u8, u8),
    /// The struct with this index is complete, tagged fields included.
    End(u8),
    /// In place of a nullable struct (its index): it is null.
    Null(u8),
    /// In place of a segment that was skipped.
    Skipped,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// At the field `Open::field`.
    Fields,
    /// At the count of tagged fields, if the version has such a section.
    TagCount,
    /// Before a tagged field.
    Tags,
    /// At the value of a known tagged field, namely `Open::field`.
    TagValue,
    /// After the known part of a tagged field.
    TagRest,
    /// After the last byte.
    End,
}

/// A struct of which some bytes have been read. All zero at its beginning.
#[derive(Clone, Copy, Debug)]
struct Open {
    index: u8,
    field: u8,
    phase: Phase,
    /// Structs like this one that follow in the array.
    left: u32,
    /// Tagged fields that follow.
    tags: u32,
    /// One more than the last tag, so that 0 is "none yet".
    above: u32,
    /// End of the current tagged field, in bytes from the message's beginning; 0 is "none".
    end: u32,
}

impl Open {
    const EMPTY: Self =
        Self { index: 0, field: 0, phase: Phase::Fields, left: 0, tags: 0, above: 0, end: 0 };
}

/// Walks through one message, step by step.
#[derive(Clone, Copy, Debug)]
pub struct Walker {
    /// `None`: there is no message, and all is zero.
    schema: Option<&'static Schema>,
    open: [Open; DEPTH],
    depth: u8,
    version: i8,
    /// The current segment is being dropped.
    dropping: bool,
    /// Bytes to drop first.
    skip: u32,
    /// Record bytes that the caller may take; dropped by the next step.
    records: u32,
    /// Bytes consumed.
    at: u32,
    unknown: u32,
}

/// What is at the front of a nested array or struct.
enum Child {
    /// An empty or null array.
    None,
    /// A null struct, by its index.
    Null(u8),
    /// Structs of this index, so many after the first.
    Open(u8, u32),
}

/// The result of one pass over the input.
enum Turn {
    Piece(Piece),
    Again,
    Done,
}

impl Walker {
    /// A walker without a message, at its end.
    pub(crate) const IDLE: Self = Self {
        schema: None,
        open: [Open::EMPTY; DEPTH],
        depth: 0,
        version: 0,
        dropping: false,
        skip: 0,
        records: 0,
        at: 0,
        unknown: 0,
    };

    /// Creates a walker at the beginning of a body of `version`.
    #[must_use]
    pub const fn new(schema: &'static Schema, version: i8) -> Self {
        Self { schema: Some(schema), depth: 1, version, ..Self::IDLE }
    }

    /// Returns the version being read.
    #[must_use]
    pub const fn version(&self) -> i8 {
        self.version
    }

    /// Continues in another version; for responses that name their own version.
    pub(in crate::wire) const fn set_version(&mut self, version: i8) {
        self.version = version;
    }

    /// Returns how many tagged fields were dropped because the tables do not know them.
    #[must_use]
    pub const fn unknown_tags(&self) -> u32 {
        self.unknown
    }

    /// Returns how many record bytes come next in the input and were not taken yet.
    #[must_use]
    pub const fn records_left(&self) -> u32 {
        self.records
    }

    /// Notes that the caller has taken `len` record bytes from the input itself.
    pub const fn take(&mut self, len: u32) {
        let taken = if len < self.records { len } else { self.records };
        self.records -= taken;
        self.at = self.at.saturating_add(taken);
    }

    /// Whether this field of the outermost struct comes next, and nothing of it was read.
    pub(crate) const fn is_at(&self, field: u8) -> bool {
        let open = &self.open[0];
        self.depth == 1
            && self.skip == 0
            && matches!(open.phase, Phase::Fields)
            && open.field == field
    }

    /// Drops the segment that comes next; see [`Decode::skip`](crate::wire::Decode::skip).
    pub const fn skip(&mut self) {
        self.dropping = true;
    }

    /// Takes the next piece from the front of `input`; see
    /// [`Decode::step`](crate::wire::Decode::step).
    ///
    /// # Errors
    /// [`Malformed`] when the bytes do not fit the schema.
    pub fn step<'b>(
        &mut self,
        input: &mut &'b [u8],
        values: &mut Values<'b>,
    ) -> Result<Step<Piece>, Malformed> {
        loop {
            if !self.drop_bytes(input)? {
                return Ok(Step::More { needed: 1 });
            }
            let limit = self.limit();
            let left = limit.map_or(usize::MAX, |end| end.saturating_sub(self.at) as usize);
            let window = input.get(..left).unwrap_or(input);
            let mut reader = Reader::new(window);
            match self.turn(&mut reader, values) {
                Ok(turn) => {
                    let used = window.len() - reader.rest().len();
                    *input = input.get(used..).unwrap_or_default();
                    self.advance(used)?;
                    if limit.is_some_and(|end| self.skip > end.saturating_sub(self.at)) {
                        return Err(Malformed::Tag);
                    }
                    match turn {
                        Turn::Piece(piece) => return Ok(Step::Item(piece)),
                        Turn::Again => {}
                        Turn::Done => return Ok(Step::Done),
                    }
                }
                Err(Stop::More(missing)) => {
                    let needed = window.len().saturating_add(missing);
                    if needed > left {
                        return Err(Malformed::Tag);
                    }
                    return Ok(Step::More { needed });
                }
                Err(Stop::Bad(why)) => return Err(why),
            }
        }
    }

    /// Drops what is to be dropped; false when bytes are missing for it.
    fn drop_bytes(&mut self, input: &mut &[u8]) -> Result<bool, Malformed> {
        for left in [&mut self.skip, &mut self.records] {
            let have = input.len().min(*left as usize);
            *input = input.get(have..).unwrap_or_default();
            *left = left.saturating_sub(have as u32);
            self.at = self.at.checked_add(have as u32).ok_or(Malformed::Shape)?;
        }
        Ok(self.skip == 0 && self.records == 0)
    }

    fn advance(&mut self, used: usize) -> Result<(), Malformed> {
        let used = u32::try_from(used).map_err(|_| Malformed::Shape)?;
        self.at = self.at.checked_add(used).ok_or(Malformed::Shape)?;
        Ok(())
    }

    /// Returns the end of the innermost open tagged field.
    fn limit(&self) -> Option<u32> {
        let open = self.open.get(..usize::from(self.depth))?;
        open.iter().rev().map(|open| open.end).find(|end| *end != 0)
    }

    fn flexible(&self) -> bool {
        self.schema.is_some_and(|schema| self.version >= schema.flexible)
    }

    /// Returns the innermost open struct and its fields.
    fn top(&mut self) -> Option<(&mut Open, &'static [Field])> {
        let open = self.open.get_mut(usize::from(self.depth).checked_sub(1)?)?;
        let fields = self.schema?.structs.get(usize::from(open.index))?;
        Some((open, fields))
    }

    fn turn<'b>(&mut self, input: &mut Reader<'b>, values: &mut Values<'b>) -> Result<Turn, Stop> {
        let flexible = self.flexible();
        let Some((open, fields)) = self.top() else { return Ok(Turn::Done) };
        match open.phase {
            Phase::Fields => match fields.get(usize::from(open.field)) {
                Some(field) if field.tag < 0 => self.field(*field, input, values),
                _ => {
                    open.phase = Phase::TagCount;
                    Ok(Turn::Again)
                }
            },
            Phase::TagCount => {
                let bare = fields.first().is_some_and(Field::is_bare);
                open.tags = if flexible && !bare { input.uvarint()? } else { 0 };
                open.phase = Phase::Tags;
                Ok(Turn::Again)
            }
            Phase::Tags if open.tags > 0 => self.tag(input),
            Phase::Tags => {
                open.phase = Phase::End;
                Ok(Turn::Piece(Piece::End(open.index)))
            }
            Phase::TagValue => self.tag_value(input, values),
            Phase::TagRest => {
                let end = open.end;
                open.end = 0;
                open.tags = open.tags.saturating_sub(1);
                open.phase = Phase::Tags;
                self.skip = guard!("a tag is read to its end", end.saturating_sub(self.at) => 0);
                Ok(Turn::Again)
            }
            Phase::End => {
                if open.left == 0 {
                    self.depth = self.depth.saturating_sub(1);
                } else {
                    *open = Open { index: open.index, left: open.left - 1, ..Open::EMPTY };
                }
                Ok(Turn::Again)
            }
        }
    }

    /// At an untagged field: takes a whole segment, or opens one nested array or struct.
    fn field<'b>(
        &mut self,
        field: Field,
        input: &mut Reader<'b>,
        values: &mut Values<'b>,
    ) -> Result<Turn, Stop> {
        if field.kind.is_plain() {
            return if self.dropping {
                self.drop_field(field, input)
            } else {
                self.segment(input, values)
            };
        }
        let child = if field.is_in(self.version) { self.child(field, input)? } else { Child::None };
        if let Some((open, _)) = self.top() {
            open.field += 1;
        }
        self.enter(child)
    }

    /// Takes all plain fields from here on, when all their bytes have arrived.
    fn segment<'b>(
        &mut self,
        input: &mut Reader<'b>,
        values: &mut Values<'b>,
    ) -> Result<Turn, Stop> {
        let (version, flexible) = (self.version, self.flexible());
        let Some((open, fields)) = self.top() else { return Ok(Turn::Done) };
        *values = Values::default();
        let first = open.field;
        let mut next = first;
        let mut present = false;
        let mut records = 0;
        for field in fields.get(usize::from(first)..).unwrap_or_default() {
            if !field.kind.is_plain() || field.tag >= 0 {
                break;
            }
            if field.is_in(version) {
                present = true;
                let slot = values.list.get_mut(usize::from(next - first));
                let slot = slot.ok_or(Stop::Bad(Malformed::Shape))?;
                value(input, field.kind, field.nullable <= version, flexible, slot)?;
                if let (Kind::Records, Value::Int(len)) = (field.kind, *slot) {
                    records = len as u32;
                }
            }
            next += 1;
            if field.kind == Kind::Records {
                break;
            }
        }
        open.field = next;
        let piece = Piece::Fields(open.index, first);
        self.records = records;
        Ok(if present { Turn::Piece(piece) } else { Turn::Again })
    }

    /// Drops one plain field, and reports it after the last one of its segment.
    fn drop_field(&mut self, field: Field, input: &mut Reader<'_>) -> Result<Turn, Stop> {
        if field.is_in(self.version) {
            self.drop_value(field, input)?;
        }
        let Some((open, fields)) = self.top() else { return Ok(Turn::Done) };
        open.field += 1;
        let next = fields.get(usize::from(open.field));
        let goes_on = next.is_some_and(|next| next.kind.is_plain() && next.tag < 0);
        if goes_on && field.kind != Kind::Records {
            return Ok(Turn::Again);
        }
        self.dropping = false;
        Ok(Turn::Piece(Piece::Skipped))
    }

    fn drop_value(&mut self, field: Field, input: &mut Reader<'_>) -> Result<(), Stop> {
        let len = extent(input, field.kind, self.flexible())?;
        self.skip = u32::try_from(len).map_err(|_| Stop::Bad(Malformed::Length))?;
        Ok(())
    }

    /// What is at the front of a nested array or struct.
    fn child(&mut self, field: Field, input: &mut Reader<'_>) -> Result<Child, Stop> {
        let nullable = field.nullable <= self.version;
        match field.kind {
            Kind::Array(index) => match input.count(self.flexible())? {
                None if !nullable => Err(Stop::Bad(Malformed::Length)),
                None | Some(0) => Ok(Child::None),
                Some(count) => Ok(Child::Open(index, count - 1)),
            },
            Kind::Struct(index) if nullable && input.int(1)? < 0 => Ok(Child::Null(index)),
            Kind::Struct(index) => Ok(Child::Open(index, 0)),
            _ => Err(Stop::Bad(Malformed::Shape)),
        }
    }

    fn enter(&mut self, child: Child) -> Result<Turn, Stop> {
        self.dropping = false;
        match child {
            Child::None => Ok(Turn::Again),
            Child::Null(index) => Ok(Turn::Piece(Piece::Null(index))),
            Child::Open(index, left) => {
                let open = self.open.get_mut(usize::from(self.depth));
                *open.ok_or(Stop::Bad(Malformed::Shape))? = Open { index, left, ..Open::EMPTY };
                self.depth += 1;
                Ok(Turn::Again)
            }
        }
    }

    /// Before a tagged field: reads its tag and size.
    fn tag(&mut self, input: &mut Reader<'_>) -> Result<Turn, Stop> {
        let (at, outer, version) = (self.at, self.limit(), self.version);
        let before = input.rest().len();
        let tag = input.uvarint()?;
        let size = input.uvarint()?;
        let header = (before - input.rest().len()) as u32;
        self.dropping = false;
        let Some((open, fields)) = self.top() else { return Ok(Turn::Done) };
        if tag < open.above {
            return Err(Stop::Bad(Malformed::TagOrder));
        }
        open.above = tag.checked_add(1).ok_or(Stop::Bad(Malformed::Tag))?;
        let end = at.checked_add(header).and_then(|at| at.checked_add(size));
        open.end = end.ok_or(Stop::Bad(Malformed::Tag))?;
        let beyond = outer.is_some_and(|outer| open.end > outer);
        if guard!("a tag ends inside the outer one", beyond) {
            return Err(Stop::Bad(Malformed::Tag));
        }
        let known = |field: &Field| {
            u32::try_from(field.tag).is_ok_and(|own| own == tag) && field.is_in(version)
        };
        if let Some(index) = fields.iter().position(known) {
            open.field = index as u8;
            open.phase = Phase::TagValue;
        } else {
            open.phase = Phase::TagRest;
            self.unknown = self.unknown.saturating_add(1);
        }
        Ok(Turn::Again)
    }

    /// At the value of a tagged field that we know.
    fn tag_value<'b>(
        &mut self,
        input: &mut Reader<'b>,
        values: &mut Values<'b>,
    ) -> Result<Turn, Stop> {
        let Some((open, fields)) = self.top() else { return Ok(Turn::Done) };
        let (index, first) = (open.index, open.field);
        let Some(field) = fields.get(usize::from(first)).copied() else {
            return Err(Stop::Bad(Malformed::Shape));
        };
        let turn = if !field.kind.is_plain() {
            let child = self.child(field, input)?;
            if let Some((open, _)) = self.top() {
                open.phase = Phase::TagRest;
            }
            return self.enter(child);
        } else if self.dropping {
            self.dropping = false;
            Piece::Skipped
        } else {
            let nullable = field.nullable <= self.version;
            let flexible = self.flexible();
            *values = Values::default();
            if let Some(slot) = values.list.first_mut() {
                value(input, field.kind, nullable, flexible, slot)?;
            }
            Piece::Fields(index, first)
        };
        if let Some((open, _)) = self.top() {
            open.phase = Phase::TagRest;
        }
        Ok(Turn::Piece(turn))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_state_is_small() {
        let max = 40 + DEPTH * 20;
        assert!(size_of::<Walker>() <= max, "{} bytes", size_of::<Walker>());
    }
}
