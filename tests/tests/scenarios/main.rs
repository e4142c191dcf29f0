//! Bugs that other clients once had, one test each, in virtual time. A test's name begins with the
//! number of its scenario in `list.txt`; README.md lists the numbers that have none here, and why.

mod consumer;
mod growth;
mod leaders;
mod list;
mod metadata;
mod network;
mod producer;
mod recreation;
