//! Simulated runs in which a seed decides everything: the cluster, its clients, what fails and
//! when. First anything may fail, and nothing wrong may be seen; then all faults end, and
//! everything has to complete.

mod agent;
mod annals;
mod load;
mod nemesis;
mod oracle;
mod plan;
mod run;
mod step;

pub use agent::Agent;
pub use load::Loads;
pub use nemesis::Act;
pub use plan::{ClientPlan, Login, Plan};
pub use run::{Outcome, run, run_to};
