//! What the client knows of the cluster, against scripted brokers in virtual time. Names in
//! brackets are scenarios and rules.

mod brokers;
mod growth;
mod leaders;
mod recreation;
mod support;
