//! Writing a subscription.

use super::{GENERATION, OWNED, RACK};
use crate::wire::{Full, Length, Writer};

/// What a subscription has for the assignor.
#[derive(Clone, Copy, Debug)]
pub enum UserData<O> {
    /// Null: for `range` and `roundrobin`, and for `sticky` before the first assignment.
    Null,
    /// For `cooperative-sticky`: the generation of the last assignment, -1 before the first.
    Generation(i32),
    /// For `sticky`: the last assignment, as `Joining::owned`, and its generation.
    Previous(O, i32),
}

/// A subscription to be written. Topics may come in any order and more than once, and are written
/// in ascending order, each once, so that the same subscription is the same bytes.
#[derive(Clone, Debug)]
pub struct Joining<'a, N, O> {
    /// The names of the topics.
    pub topics: N,
    /// For the assignor.
    pub user_data: UserData<O>,
    /// The partitions that the member has and keeps meanwhile, by topic; from version 1 on. Topics
    /// without any are left out.
    pub owned: O,
    /// The generation in which it had them, -1 for none; from version 2 on.
    pub generation: i32,
    /// The member's rack; from version 3 on.
    pub rack: Option<&'a str>,
}

impl<'a, N, O, P> Joining<'a, N, O>
where
    N: Iterator<Item = &'a str> + Clone,
    O: Iterator<Item = (&'a str, P)> + Clone,
    P: Iterator<Item = i32> + Clone,
{
    /// Writes the subscription in a version of 0 to 3. Nothing follows its fields: some leaders
    /// (Sarama) refuse that.
    ///
    /// # Errors
    /// [`Full`] when the writer is.
    pub fn write(&self, version: i16, out: &mut Writer<'_>) -> Result<(), Full> {
        let version = version.clamp(0, RACK as i16);
        out.i16(version)?;
        let topics = ascending(self.topics.clone(), |name| *name);
        out.count(false, Some(topics.clone().count()))?;
        for name in topics {
            out.str(false, name)?;
        }
        match &self.user_data {
            UserData::Null => out.count(false, None)?,
            UserData::Generation(generation) => {
                out.count(false, Some(4))?;
                out.i32(*generation)?;
            }
            UserData::Previous(owned, generation) => {
                let mut length = Length;
                let mut counter = Writer::new(&mut length);
                write_topics(owned, &mut counter)?;
                out.count(false, Some(counter.written() + 4))?;
                write_topics(owned, out)?;
                out.i32(*generation)?;
            }
        }
        let version = i64::from(version);
        if version >= OWNED {
            write_topics(&self.owned, out)?;
        }
        if version >= GENERATION {
            out.i32(self.generation)?;
        }
        if version >= RACK { out.nullable_str(false, self.rack) } else { Ok(()) }
    }

    /// Returns how many bytes [`Joining::write`] writes; 0 if it cannot.
    #[must_use]
    pub fn len(&self, version: i16) -> usize {
        let mut length = Length;
        let mut counter = Writer::new(&mut length);
        self.write(version, &mut counter).map_or(0, |()| counter.written())
    }
}

fn write_topics<'a, O, P>(topics: &O, out: &mut Writer<'_>) -> Result<(), Full>
where
    O: Iterator<Item = (&'a str, P)> + Clone,
    P: Iterator<Item = i32> + Clone,
{
    let some = topics.clone().filter(|(_, partitions)| partitions.clone().next().is_some());
    let topics = ascending(some, |(name, _)| *name);
    out.count(false, Some(topics.clone().count()))?;
    for (name, partitions) in topics {
        out.str(false, name)?;
        out.count(false, Some(partitions.clone().count()))?;
        for partition in partitions {
            out.i32(partition)?;
        }
    }
    Ok(())
}

/// Iterates in ascending order of the names, over the first of each name. There is no memory to
/// sort them in: each step looks for the next one.
fn ascending<'a, T>(
    all: impl Iterator<Item = T> + Clone,
    name: impl Fn(&T) -> &'a str + Clone,
) -> impl Iterator<Item = T> + Clone {
    let mut last = None;
    core::iter::from_fn(move || {
        let behind = all.clone().filter(|item| last.is_none_or(|last| name(item) > last));
        let next = behind.reduce(|a, b| if name(&b) < name(&a) { b } else { a })?;
        last = Some(name(&next));
        Some(next)
    })
}
