//! Lines that a guarantee depends on, by name. In a build with `--cfg kavka_mutants` the one that
//! the environment variable `KAVKA_MUTANT` names is switched off, to find the test that fails
//! (`cargo run -p kavka-tests --bin mutate`).

/// `guard!("name", trouble)` returns `trouble`, or false when switched off.
/// `guard!("name", right => wrong)` returns `right`, or `wrong` when switched off.
#[cfg(not(kavka_mutants))]
macro_rules! guard {
    ($name:literal, $trouble:expr) => {
        $trouble
    };
    ($name:literal, $right:expr => $wrong:expr) => {
        $right
    };
}

#[cfg(kavka_mutants)]
macro_rules! guard {
    ($name:literal, $trouble:expr) => {
        guard!($name, $trouble => false)
    };
    ($name:literal, $right:expr => $wrong:expr) => {
        if $crate::guard::is_off($name) { $wrong } else { $right }
    };
}

#[cfg(kavka_mutants)]
pub(crate) fn is_off(name: &str) -> bool {
    static OFF: std::sync::OnceLock<std::string::String> = std::sync::OnceLock::new();
    OFF.get_or_init(|| std::env::var("KAVKA_MUTANT").unwrap_or_default()) == name
}
