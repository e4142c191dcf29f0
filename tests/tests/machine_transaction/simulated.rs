//! Whole transactions in simulated clusters: what is in the logs at the end.
