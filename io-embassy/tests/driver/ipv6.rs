//! Brokers that are reached by IPv6.

use crate::brokers::Named;
use crate::cancel::{Habit, check_net};

#[test]
fn brokers_are_reached_by_their_ipv6_addresses() {
    for seed in 1..=2 {
        check_net(seed, Habit::Random, Named::ByAddressV6);
    }
}

#[cfg(feature = "proto-ipv6")]
#[test]
fn names_that_have_ipv6_addresses_alone_are_looked_up() {
    for seed in 1..=2 {
        check_net(seed, Habit::Hasty, Named::ByNameV6);
    }
}
