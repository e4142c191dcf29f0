//! Lines for people: by `defmt`, by `log`, by both, or not at all.

macro_rules! note {
    ($level:ident, $text:literal $(, $value:expr)* $(,)?) => {{
        #[cfg(feature = "defmt")]
        defmt::$level!($text $(, $value)*);
        #[cfg(feature = "log")]
        log::$level!($text $(, $value)*);
        #[cfg(not(any(feature = "defmt", feature = "log")))]
        if false { $(let _ = &$value;)* }
    }};
}
