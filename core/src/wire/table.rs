//! Responses as tables, and the one interpreter that reads them all.
//!
//! A [`Schema`] lists the structs of a response, a [`Field`] says in which versions a field is on
//! the wire; both follow Kafka's message schemas (`clients/src/main/resources/common/message`),
//! with tagged fields moved to the end of their struct. The [`Walker`] keeps a small stack of open
//! structs and hands out *segments*: the run of plain fields of a struct up to the next nested
//! array, struct, record bytes or end. The modules of the APIs turn segments into typed items; a
//! client that wants a raw response can run a walker itself.

use super::read::{Ints, Reader, Stop};
use super::{ErrorCode, Uuid};

mod walk;

pub use walk::{Piece, Walker};

/// The type of a field on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `bool`
    Bool,
    /// `int8`
    I8,
    /// `int16`
    I16,
    /// `int32`
    I32,
    /// `int64`
    I64,
    /// `uuid`
    Uuid,
    /// `string`
    Str,
    /// `[]int32`
    Ints,
    /// `bytes`: read whole.
    #[cfg(any(feature = "sasl", feature = "classic", feature = "group-admin"))]
    Bytes,
    /// `records`: only the length is read, the bytes are left to the caller.
    Records,
    /// An array of the struct with this index in [`Schema::structs`].
    Array(u8),
    /// The struct with this index; nullable ones carry an `int8` in front, negative for null.
    Struct(u8),
}

impl Kind {
    const fn is_plain(self) -> bool {
        !matches!(self, Self::Array(_) | Self::Struct(_))
    }

    /// Returns its bytes on the wire, if their number is fixed; else 0.
    const fn width(self) -> u8 {
        match self {
            Self::Bool | Self::I8 => 1,
            Self::I16 => 2,
            Self::I32 => 4,
            Self::I64 => 8,
            Self::Uuid => 16,
            _ => 0,
        }
    }
}

/// One field of a struct.
#[derive(Clone, Copy, Debug)]
pub struct Field {
    /// Kafka's name, in the schema's spelling. Costs flash, so only with feature `schema`.
    #[cfg(any(test, feature = "schema"))]
    pub name: &'static str,
    /// Its type.
    pub kind: Kind,
    /// First version that has it.
    pub since: i8,
    /// Last version that has it.
    pub until: i8,
    /// First version in which it may be null; `i8::MAX` is never.
    pub nullable: i8,
    /// Its tag; -1 when it is not tagged, [`BARE`] for a plain value in an array.
    pub tag: i8,
}

impl Field {
    /// Creates a field of all versions from `since` on, never null, not tagged.
    const fn new(name: &'static str, kind: Kind, since: i8) -> Self {
        #[cfg(not(any(test, feature = "schema")))]
        let _ = name;
        Self {
            #[cfg(any(test, feature = "schema"))]
            name,
            kind,
            since,
            until: i8::MAX,
            nullable: i8::MAX,
            tag: -1,
        }
    }

    /// Sets the last version that has it.
    const fn until(mut self, until: i8) -> Self {
        self.until = until;
        self
    }

    /// Lets it be null from version `since` on.
    const fn nullable(mut self, since: i8) -> Self {
        self.nullable = since;
        self
    }

    /// Makes it a tagged field.
    const fn tag(mut self, tag: i8) -> Self {
        self.tag = tag;
        self
    }

    /// Whether it is a plain value in an array.
    const fn is_bare(&self) -> bool {
        cfg!(feature = "group-admin") && self.tag == BARE
    }

    /// Whether `version` has this field, tagged or not.
    #[must_use]
    pub const fn is_in(&self, version: i8) -> bool {
        self.since <= version && version <= self.until
    }
}

/// Shorthand for the tables: [`Field::new`].
pub(super) const fn field(name: &'static str, kind: Kind, since: i8) -> Field {
    Field::new(name, kind, since)
}

/// Shorthand for the tables: a field that ends with a version.
pub(super) const fn until(field: Field, until: i8) -> Field {
    field.until(until)
}

/// Shorthand for the tables: a field that may be null from a version on.
pub(super) const fn nullable(field: Field, since: i8) -> Field {
    field.nullable(since)
}

/// In place of the tag of the only field of a struct: the array has plain values, such as
/// `[]string`, which have no tagged fields of their own.
pub const BARE: i8 = -2;

/// Shorthand for the tables: a tagged field.
pub(super) const fn tagged(field: Field, tag: i8) -> Field {
    field.tag(tag)
}

/// A response's layout in all versions that we read.
#[derive(Clone, Copy, Debug)]
pub struct Schema {
    /// The structs; the first is the message itself.
    pub structs: &'static [&'static [Field]],
    /// First version with compact lengths and tags; `i8::MAX` when there is none.
    pub flexible: i8,
}

/// The longest run of plain fields in any table.
pub const SEGMENT: usize = 10;

/// One plain field's value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Value<'b> {
    /// The version does not have the field.
    #[default]
    Absent,
    /// Null, where the schema allows it.
    Null,
    /// A boolean, an integer of any width, or the length of records.
    Int(i64),
    /// An id. Borrowed, so that values stay two words and copy fast.
    Uuid(&'b [u8; 16]),
    /// A string.
    Str(&'b str),
    /// An array of `int32`.
    Ints(Ints<'b>),
    /// Bytes.
    #[cfg(any(feature = "sasl", feature = "classic", feature = "group-admin"))]
    Bytes(&'b [u8]),
}

/// The plain fields of one segment, in the order of the table, from the segment's first on.
#[derive(Clone, Copy, Debug, Default)]
pub struct Values<'b> {
    list: [Value<'b>; SEGMENT],
}

impl<'b> Values<'b> {
    /// Returns the value at `index`; [`Value::Absent`] beyond the segment.
    #[must_use]
    pub fn get(&self, index: usize) -> Value<'b> {
        self.list.get(index).copied().unwrap_or_default()
    }

    /// The integer at `index`, or `default`.
    #[must_use]
    #[inline(never)]
    pub fn i64_or(&self, index: usize, default: i64) -> i64 {
        match self.list.get(index) {
            Some(Value::Int(value)) => *value,
            _ => default,
        }
    }

    /// Returns the integer at `index`, or `default`. For fields of at most 32 bits.
    #[must_use]
    #[inline(never)]
    pub fn i32_or(&self, index: usize, default: i32) -> i32 {
        match self.list.get(index) {
            Some(Value::Int(value)) => *value as i32,
            _ => default,
        }
    }

    /// Returns the integer at `index`, or 0. For fields of at most 16 bits.
    #[must_use]
    pub fn i16(&self, index: usize) -> i16 {
        self.i32_or(index, 0) as i16
    }

    /// Returns the error code at `index`; [`ErrorCode::NONE`] when absent.
    #[must_use]
    pub fn error(&self, index: usize) -> ErrorCode {
        ErrorCode(self.i16(index))
    }

    /// Returns the boolean at `index`; false when absent.
    #[must_use]
    pub fn bool(&self, index: usize) -> bool {
        self.i32_or(index, 0) != 0
    }

    /// Returns the string at `index`; `None` when null or absent.
    #[must_use]
    #[inline(never)]
    pub fn text(&self, index: usize) -> Option<&'b str> {
        match self.list.get(index) {
            Some(Value::Str(text)) => Some(text),
            _ => None,
        }
    }

    /// Returns the bytes at `index`; empty when null or absent.
    #[cfg(any(feature = "sasl", feature = "classic", feature = "group-admin"))]
    #[must_use]
    pub fn bytes(&self, index: usize) -> &'b [u8] {
        match self.list.get(index) {
            Some(Value::Bytes(bytes)) => bytes,
            _ => &[],
        }
    }

    /// Returns the id at `index`; [`Uuid::ZERO`] when absent.
    #[must_use]
    #[inline(never)]
    pub fn uuid(&self, index: usize) -> Uuid {
        match self.list.get(index) {
            Some(Value::Uuid(id)) => Uuid(**id),
            _ => Uuid::ZERO,
        }
    }

    /// Returns the integers at `index`; empty when null or absent.
    #[must_use]
    pub fn ints(&self, index: usize) -> Ints<'b> {
        match self.list.get(index) {
            Some(Value::Ints(ints)) => *ints,
            _ => Ints::default(),
        }
    }
}

/// Reads one plain field into its place; returning it would take a third of the time of a response.
fn value<'b>(
    input: &mut Reader<'b>,
    kind: Kind,
    nullable: bool,
    flexible: bool,
    to: &mut Value<'b>,
) -> Result<(), Stop> {
    *to = match kind {
        Kind::Bool | Kind::I8 | Kind::I16 | Kind::I32 | Kind::I64 => {
            Value::Int(input.int(kind.width())?)
        }
        Kind::Uuid => Value::Uuid(input.uuid()?),
        Kind::Str => input.str(flexible)?.map_or(Value::Null, Value::Str),
        Kind::Ints => input.ints(flexible)?.map_or(Value::Null, Value::Ints),
        #[cfg(any(feature = "sasl", feature = "classic", feature = "group-admin"))]
        Kind::Bytes => match input.count(flexible)? {
            Some(len) => Value::Bytes(input.take(len as usize)?),
            None => Value::Null,
        },
        Kind::Records => {
            input.count(flexible)?.map_or(Value::Null, |len| Value::Int(i64::from(len)))
        }
        Kind::Array(_) | Kind::Struct(_) => return Err(Stop::Bad(super::Malformed::Shape)),
    };
    if matches!(to, Value::Null) && !nullable {
        return Err(Stop::Bad(super::Malformed::Length));
    }
    Ok(())
}

/// Returns the extent of one plain field, from its front: what to read, then how many bytes to
/// drop.
fn extent(input: &mut Reader<'_>, kind: Kind, flexible: bool) -> Result<u64, Stop> {
    Ok(match kind {
        Kind::Bool | Kind::I8 | Kind::I16 | Kind::I32 | Kind::I64 | Kind::Uuid => {
            u64::from(kind.width())
        }
        Kind::Str => u64::from(input.str_len(flexible)?.unwrap_or(0)),
        Kind::Ints => u64::from(input.count(flexible)?.unwrap_or(0)) * 4,
        Kind::Records => u64::from(input.count(flexible)?.unwrap_or(0)),
        #[cfg(any(feature = "sasl", feature = "classic", feature = "group-admin"))]
        Kind::Bytes => u64::from(input.count(flexible)?.unwrap_or(0)),
        Kind::Array(_) | Kind::Struct(_) => return Err(Stop::Bad(super::Malformed::Shape)),
    })
}

/// A piece of a [`Walker`] with its values, for the `item` functions of the APIs.
pub(crate) struct Segment<'s, 'b> {
    pub(crate) piece: Piece,
    pub(crate) values: &'s Values<'b>,
    pub(crate) walker: &'s mut Walker,
}

impl Segment<'_, '_> {
    /// Returns the milliseconds that the broker wants us to wait, if this segment has them: `field`
    /// is the place of ThrottleTimeMs in the message itself.
    pub(crate) fn throttle_ms(&self, field: u8) -> i32 {
        match self.piece {
            Piece::Fields(0, first) if first == field => self.values.i32_or(0, 0),
            _ => 0,
        }
    }
}

/// The typed response of an API on top of a [`Walker`].
macro_rules! response {
    ($api:expr, $first:tt..=$last:literal, $b:lifetime, $item:ty) => {
        /// Reads one response body step by step.
        #[derive(Clone, Debug)]
        pub struct Response(crate::wire::table::Walker);

        impl crate::wire::Decode for Response {
            const API: crate::wire::ApiKey = $api;
            const VERSIONS: (i16, i16) = ($first, $last);
            type Item<$b> = $item;

            fn new(version: i16) -> Option<Self> {
                let spoken = ($first..=$last).contains(&version);
                spoken.then(|| Self(crate::wire::table::Walker::new(&SCHEMA, version as i8)))
            }

            fn step<$b>(
                &mut self,
                input: &mut &$b [u8],
            ) -> Result<crate::wire::Step<$item>, crate::wire::Malformed> {
                use crate::wire::Step;
                let mut values = crate::wire::table::Values::default();
                loop {
                    match self.0.step(input, &mut values)? {
                        Step::Item(piece) => {
                            let walker = &mut self.0;
                            if let Some(item) = item(Segment { piece, values: &values, walker }) {
                                return Ok(Step::Item(item));
                            }
                        }
                        Step::More { needed } => return Ok(Step::More { needed }),
                        Step::Done => return Ok(Step::Done),
                    }
                }
            }

            fn skip(&mut self) {
                self.0.skip();
            }

            fn unknown_tags(&self) -> u32 {
                self.0.unknown_tags()
            }
        }
    };
}
pub(super) use response;
