//! The groups of all brokers: each lists its own, all at the same time.

use kavka_core::{
    Admin as Request, AdminError, Duration, Error as Core, GroupAdmin, GroupReply, Instant, Reply,
    RequestId,
};

use super::group::{GroupListing, ListedGroup};
use crate::driver::Driver;
use crate::error::Error;

/// Pause before a broker is tried again.
const AGAIN: Duration = Duration::from_millis(200);

/// A broker and its groups so far.
struct Place {
    broker: i32,
    state: State,
    groups: Vec<ListedGroup>,
    /// Why it was tried in vain.
    last: Option<Error>,
}

enum State {
    Waiting { until: Instant },
    Requested(RequestId),
    Done,
    Failed,
}

pub(super) struct Listing {
    places: Vec<Place>,
}

impl Listing {
    pub(super) fn new(brokers: impl Iterator<Item = i32>) -> Self {
        let place = |broker| Place {
            broker,
            state: State::Waiting { until: Instant::ZERO },
            groups: Vec::new(),
            last: None,
        };
        Self { places: brokers.map(place).collect() }
    }

    /// Sends what is due.
    pub(super) fn start(&mut self, driver: &mut Driver<'_>, now: Instant) {
        for place in &mut self.places {
            if !matches!(place.state, State::Waiting { until } if until <= now) {
                continue;
            }
            place.groups.clear();
            let broker = place.broker;
            place.state = match driver.admin(now, &Request::Group(GroupAdmin::List { broker })) {
                Ok(id) => State::Requested(id),
                Err(AdminError::Full) => State::Waiting { until: now + AGAIN },
                Err(_) => State::Failed,
            };
        }
    }

    /// Returns when the next request is due.
    pub(super) fn due(&self) -> Option<Instant> {
        let due = |place: &Place| match place.state {
            State::Waiting { until } => Some(until),
            _ => None,
        };
        self.places.iter().filter_map(due).min()
    }

    pub(super) fn awaits(&self, id: RequestId) -> bool {
        self.places.iter().any(|place| place.awaits(id))
    }

    /// Takes a part of a response.
    pub(super) fn add(&mut self, id: RequestId, reply: &Reply<'_>) {
        let place = self.places.iter_mut().find(|place| place.awaits(id));
        if let (Some(place), Reply::Group(GroupReply::Listed { id, protocol_type, state, kind })) =
            (place, reply)
        {
            place.groups.push(ListedGroup {
                id: (*id).to_owned(),
                protocol_type: (*protocol_type).to_owned(),
                state: state.map(str::to_owned),
                kind: kind.map(capital),
                coordinator: place.broker,
            });
        }
    }

    /// Handles the end of a response: `why` it failed, if it did.
    pub(super) fn done(&mut self, id: RequestId, now: Instant, why: Option<(Core, Error)>) {
        let Some(place) = self.places.iter_mut().find(|place| place.awaits(id)) else { return };
        place.state = match why {
            None => State::Done,
            Some((error, why)) => {
                place.last = Some(why);
                match error {
                    Core::Closed(_) | Core::TimedOut => State::Waiting { until: now + AGAIN },
                    _ => State::Failed,
                }
            }
        };
    }

    pub(super) fn is_complete(&self) -> bool {
        self.places.iter().all(|place| matches!(place.state, State::Done | State::Failed))
    }

    /// Returns what was listed; `why` the brokers without a result have none, where that is known.
    /// Fails when no broker has listed its groups.
    pub(super) fn result(
        &mut self,
        mut why: impl FnMut(Option<RequestId>) -> Error,
    ) -> Result<GroupListing, Error> {
        let mut listing = GroupListing::default();
        let mut any = self.places.is_empty();
        for place in self.places.drain(..) {
            let id = match place.state {
                State::Done => {
                    any = true;
                    listing.groups.extend(place.groups);
                    continue;
                }
                State::Requested(id) => Some(id),
                State::Waiting { .. } | State::Failed => None,
            };
            listing.failed.push((place.broker, place.last.unwrap_or_else(|| why(id))));
        }
        listing.groups.sort_by(|a, b| a.id.cmp(&b.id));
        listing.groups.dedup_by(|a, b| a.id == b.id); // it moved while all listed theirs
        listing.failed.sort_by_key(|(broker, _)| *broker);
        match listing.failed.first() {
            Some((_, error)) if !any => Err(error.clone()),
            _ => Ok(listing),
        }
    }
}

/// Brokers spell types `consumer` or `Consumer`, by release.
fn capital(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| first.to_uppercase().chain(chars).collect())
}

impl Place {
    fn awaits(&self, id: RequestId) -> bool {
        matches!(self.state, State::Requested(of) if of == id)
    }
}
