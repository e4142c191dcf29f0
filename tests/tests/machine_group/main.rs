//! The member of a group against a scripted coordinator, in virtual time.

mod assignment;
mod classic;
mod commits;
mod coordinator;
mod growth;
mod hostile;
mod ordered;
mod pattern;
mod starts;
mod steps;
