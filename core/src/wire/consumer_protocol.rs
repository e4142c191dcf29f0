//! What members of classic consumer groups exchange through the coordinator: subscriptions and
//! assignments (Kafka's `ConsumerProtocol`), never flexible. Versions 0 to 3 are read; a newer one
//! is read by the fields of version 3, which it begins with, and bytes behind them are ignored. One
//! that ends before the fields of its version is read by those that it has. Subscriptions are
//! written in versions 0 to 3 (`Joining`, feature `classic`).
//!
//! Both are read from bytes that are complete, and hand out topics one by one: no count from the
//! wire sizes anything.

#[cfg(feature = "classic")]
mod joining;

use super::read::{Reader, Stop};
use super::{Ints, Malformed};

#[cfg(feature = "classic")]
pub use joining::{Joining, UserData};

/// Version 1 and later: the partitions that the member has.
const OWNED: i64 = 1;
/// Version 2 and later: the generation in which it had them.
const GENERATION: i64 = 2;
/// Version 3 and later: the member's rack.
const RACK: i64 = 3;

/// What a member subscribes to.
#[derive(Clone, Debug)]
pub struct Subscription<'b> {
    /// The version that it was written in.
    pub version: i16,
    /// The topics.
    pub topics: Names<'b>,
    /// For the assignor; `None` for null.
    pub user_data: Option<&'b [u8]>,
    /// The partitions that the member has, from version 1 on; else empty.
    pub owned: Topics<'b>,
    /// The generation in which it had them, -1 for none; from version 2 on.
    pub generation: i32,
    /// The member's rack; from version 3 on.
    pub rack: Option<&'b str>,
}

impl<'b> Subscription<'b> {
    /// Reads a subscription.
    ///
    /// # Errors
    /// [`Malformed`] when a field is missing or wrong; missing bytes are [`Malformed::Shape`].
    pub fn read(bytes: &'b [u8]) -> Result<Self, Malformed> {
        let mut input = Reader::new(bytes);
        let version = plain(input.int(2))?;
        if version < 0 {
            return Err(Malformed::Length);
        }
        let topics = Names::read(&mut input)?;
        let user_data = data(&mut input)?;
        // Some clients write the number of a newer version than the fields that they have.
        let has = |since, input: &Reader<'_>| version >= since && !input.rest().is_empty();
        let mut owned = Topics::default();
        if has(OWNED, &input) {
            owned = Topics::read(&mut input)?;
        }
        let mut generation = -1;
        if has(GENERATION, &input) {
            generation = plain(input.int(4))? as i32;
        }
        let rack = if has(RACK, &input) { plain(input.str(false))? } else { None };
        Ok(Self { version: version as i16, topics, user_data, owned, generation, rack })
    }
}

/// What the leader gave to a member.
#[derive(Clone, Debug)]
pub struct Assignment<'b> {
    /// The version that it was written in.
    pub version: i16,
    /// The partitions by topic.
    pub topics: Topics<'b>,
    /// From the assignor; `None` for null.
    pub user_data: Option<&'b [u8]>,
}

impl<'b> Assignment<'b> {
    /// Reads an assignment.
    ///
    /// # Errors
    /// [`Malformed`] when a field is missing or wrong; missing bytes are [`Malformed::Shape`].
    pub fn read(bytes: &'b [u8]) -> Result<Self, Malformed> {
        let mut input = Reader::new(bytes);
        let version = plain(input.int(2))?;
        if version < 0 {
            return Err(Malformed::Length);
        }
        let topics = Topics::read(&mut input)?;
        let user_data = data(&mut input)?;
        Ok(Self { version: version as i16, topics, user_data })
    }
}

/// Reads what the assignor `sticky` keeps in the user data of a subscription: the partitions that
/// the member had, and in which generation; -1 if that is missing, as in the first version.
///
/// # Errors
/// [`Malformed`] when a field is missing or wrong.
pub fn previous(user_data: &[u8]) -> Result<(Topics<'_>, i32), Malformed> {
    let mut input = Reader::new(user_data);
    let topics = Topics::read(&mut input)?;
    Ok((topics, input.int(4).map_or(-1, |generation| generation as i32)))
}

/// Names of topics, in the order of the wire. They were checked when they were read.
#[derive(Clone, Copy, Debug, Default)]
pub struct Names<'b> {
    left: u32,
    bytes: &'b [u8],
}

impl<'b> Names<'b> {
    fn read(input: &mut Reader<'b>) -> Result<Self, Malformed> {
        let left = plain(input.count(false))?.ok_or(Malformed::Length)?;
        let bytes = input.rest();
        for _ in 0..left {
            name(input)?;
        }
        Ok(Self { left, bytes })
    }
}

impl Names<'_> {
    /// Returns how many are left.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.left as usize
    }

    /// Whether none is left.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.left == 0
    }
}

impl<'b> Iterator for Names<'b> {
    type Item = &'b str;

    fn next(&mut self) -> Option<&'b str> {
        self.left = self.left.checked_sub(1)?;
        let mut input = Reader::new(self.bytes);
        let found = name(&mut input).ok();
        self.bytes = input.rest();
        found
    }
}

/// Topics, each with its partitions, in the order of the wire. They were checked when they were
/// read.
#[derive(Clone, Copy, Debug, Default)]
pub struct Topics<'b> {
    left: u32,
    bytes: &'b [u8],
}

impl<'b> Topics<'b> {
    fn read(input: &mut Reader<'b>) -> Result<Self, Malformed> {
        let left = plain(input.count(false))?.ok_or(Malformed::Length)?;
        let bytes = input.rest();
        for _ in 0..left {
            topic(input)?;
        }
        Ok(Self { left, bytes })
    }
}

impl<'b> Iterator for Topics<'b> {
    type Item = (&'b str, Ints<'b>);

    fn next(&mut self) -> Option<(&'b str, Ints<'b>)> {
        self.left = self.left.checked_sub(1)?;
        let mut input = Reader::new(self.bytes);
        let found = topic(&mut input).ok();
        self.bytes = input.rest();
        found
    }
}

fn name<'b>(input: &mut Reader<'b>) -> Result<&'b str, Malformed> {
    plain(input.str(false))?.ok_or(Malformed::Length)
}

fn topic<'b>(input: &mut Reader<'b>) -> Result<(&'b str, Ints<'b>), Malformed> {
    let name = name(input)?;
    Ok((name, plain(input.ints(false))?.ok_or(Malformed::Length)?))
}

fn data<'b>(input: &mut Reader<'b>) -> Result<Option<&'b [u8]>, Malformed> {
    match plain(input.count(false))? {
        Some(len) => Ok(Some(plain(input.take(len as usize))?)),
        None => Ok(None),
    }
}

/// The bytes are complete: what is missing never comes.
fn plain<T>(read: Result<T, Stop>) -> Result<T, Malformed> {
    read.map_err(|stop| match stop {
        Stop::More(_) => Malformed::Shape,
        Stop::Bad(why) => why,
    })
}
