//! What the client knows of the cluster, against scripted brokers in virtual time. R1 and so on are
//! the rules of freshness. More of it in `scenarios`.

mod brokers;
mod growth;
mod leaders;
mod recreation;
mod topics;
