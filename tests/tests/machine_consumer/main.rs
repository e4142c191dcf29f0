//! The consumer against scripted brokers, in virtual time. `scenarios` has more.

mod committed;
mod epochs;
mod news;
mod old;
mod ordered;
mod pace;
mod positions;
mod racks;
mod records;
mod sessions;
mod starts;
mod work;
