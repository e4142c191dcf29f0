//! The producer against scripted brokers, in virtual time. Names in brackets are scenarios.

mod basics;
