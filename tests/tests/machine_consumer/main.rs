//! The consumer against scripted brokers, in virtual time. Names in brackets are scenarios.

mod positions;
mod records;
mod sessions;
mod starts;
mod support;
