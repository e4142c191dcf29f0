//! The consumer against scripted brokers, in virtual time. More of it in `scenarios`.

mod epochs;
mod news;
mod positions;
mod racks;
mod records;
mod sessions;
mod starts;
mod work;
