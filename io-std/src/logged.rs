//! Events for the facades `log` and `tracing`: the same names and levels in both, under the target
//! `kavka`.

use std::fmt::Display;

/// Warnings for trouble, debug for everything else.
pub(crate) fn event((name, trouble): (&'static str, bool), text: impl Display) {
    #[cfg(feature = "log")]
    {
        let level = if trouble { log::Level::Warn } else { log::Level::Debug };
        log::log!(target: "kavka", level, "{name}: {text}");
    }
    #[cfg(feature = "tracing")]
    if trouble {
        tracing::warn!(target: "kavka", event = name, "{text}");
    } else {
        tracing::debug!(target: "kavka", event = name, "{text}");
    }
}
