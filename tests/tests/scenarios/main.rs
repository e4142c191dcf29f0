//! What other clients got wrong once, one test each, in virtual time. A test's name begins with
//! the number of its scenario in `list.txt`; README.md says which numbers have none here, and why.

mod consumer;
mod growth;
mod leaders;
mod list;
mod metadata;
mod network;
mod producer;
mod recreation;
