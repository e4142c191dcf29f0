//! What the client knows of the cluster, against scripted brokers in virtual time. R1 and so on are
//! the rules of freshness. `scenarios` has more.

mod brokers;
mod growth;
mod leaders;
mod other_cluster;
mod recreation;
mod topics;
