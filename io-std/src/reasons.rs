//! Why no broker responds, by address.

use kavka_core::{Commands, Event};

use crate::address;
use crate::driver::Failure;
use crate::error::Error;
use crate::event::{text_of, timed_out};

/// Addresses that are kept.
const MOST: usize = 16;

/// How the last attempts at each address ended.
#[derive(Default)]
pub(crate) struct Reasons {
    /// `host:port`, and that with the reason.
    list: Vec<(String, String)>,
}

impl Reasons {
    /// Notes an event about a connection; other events change nothing.
    pub(crate) fn note(
        &mut self,
        event: &Event<'_>,
        commands: &Commands<'_>,
        failure: Option<&Failure>,
    ) {
        let (broker, text) = match *event {
            Event::Disconnected { broker, error } => (broker, error.to_string()),
            Event::Unresponsive { broker, silent } => {
                (broker, format!("no response for {} s", silent.as_secs()))
            }
            _ => return,
        };
        let Some((host, port)) = commands.broker_address(broker) else { return };
        let address = address::text(host, port);
        let text = match *event {
            Event::Disconnected { error, .. } => text_of(error, &address, failure),
            _ => None,
        }
        .unwrap_or_else(|| format!("{address} ({text})"));
        self.list.retain(|(known, _)| *known != address);
        if self.list.len() >= MOST {
            self.list.remove(0);
        }
        self.list.push((address, text));
    }

    /// Forgets all of them once nothing stands in the way of all requests any more.
    pub(crate) fn check(&mut self, commands: &Commands<'_>) {
        if !self.list.is_empty() && commands.obstacle().is_none() {
            self.list.clear();
        }
    }

    /// A time-out with the obstacle of everything, if something does, at each address.
    pub(crate) fn timed_out(&self, commands: &Commands<'_>, failure: Option<&Failure>) -> Error {
        let error = timed_out(commands, failure);
        let first = error.broker().unwrap_or_default();
        let is_first = |address: &str| {
            let rest = first.strip_prefix(address);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(' '))
        };
        let others = self.list.iter().filter(|(address, _)| !is_first(address));
        let others: Vec<&str> = others.map(|(_, text)| text.as_str()).collect();
        match others.is_empty() || commands.obstacle().is_none() {
            true => error,
            false => error.with_message(format!("also {}", others.join(", "))),
        }
    }
}
