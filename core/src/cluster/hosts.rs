//! Host names of brokers, stored one after the other: nearly all are far shorter than the longest
//! possible one.

use crate::memory::Mem;

/// Longest name, as in DNS.
const LONGEST: usize = 255;

/// The position of a name.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Host {
    start: u32,
    len: u8,
}

impl Host {
    pub(crate) const NONE: Self = Self { start: 0, len: 0 };

    /// Moves the position up after a name in front of it was removed.
    pub(super) fn move_up(&mut self, gone: Self) {
        if self.start > gone.start {
            self.start -= u32::from(gone.len);
        }
    }
}

/// See the module.
pub(crate) struct Hosts<'d> {
    bytes: Mem<'d, u8>,
    used: usize,
}

impl<'d> Hosts<'d> {
    pub(super) fn new(bytes: Mem<'d, u8>) -> Self {
        Self { bytes, used: 0 }
    }

    pub(super) fn get(&self, host: Host) -> &str {
        let start = host.start as usize;
        let bytes = self.bytes.get(start..start + usize::from(host.len)).unwrap_or_default();
        core::str::from_utf8(bytes).unwrap_or_default()
    }

    /// Appends a name; `None` when there is no space.
    pub(super) fn put(&mut self, name: &str) -> Option<Host> {
        let room = self.bytes.get_mut(self.used..)?.get_mut(..name.len())?;
        if name.len() > LONGEST {
            return None;
        }
        room.copy_from_slice(name.as_bytes());
        let host = Host { start: self.used as u32, len: name.len() as u8 };
        self.used += name.len();
        Some(host)
    }

    /// Removes a name. All later ones need [`Host::move_up`] then.
    pub(super) fn remove(&mut self, host: Host) {
        let start = host.start as usize;
        let end = start + usize::from(host.len);
        if end <= self.used {
            self.bytes.copy_within(end..self.used, start);
            self.used -= usize::from(host.len);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stay_when_others_go() {
        let mut bytes = [0; 12];
        let mut hosts = Hosts::new(Mem::Lent(&mut bytes));
        let [a, mut b] = ["one", "three"].map(|name| hosts.put(name).unwrap());
        assert!(hosts.put("fours").is_none(), "four bytes are left");
        hosts.remove(a);
        b.move_up(a);
        assert_eq!(hosts.get(b), "three");
        let c = hosts.put("seven77").unwrap();
        assert_eq!([hosts.get(b), hosts.get(c)], ["three", "seven77"]);
        assert!(hosts.put("x").is_none() && hosts.put("").is_some());
    }
}
