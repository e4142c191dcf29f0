//! Whether `#[cfg(..)]` leaves code in the build that is mutated.

use syn::punctuated::Punctuated;
use syn::{Attribute, Meta, Token};

/// Features that the tests build the two libraries with.
const FEATURES: [&str; 31] = [
    "std",
    "alloc",
    "producer",
    "consumer",
    "admin",
    "describe",
    "witness",
    "replicas",
    "epochs",
    "one-cluster",
    "record-check",
    "resend-unblamed",
    "refusal-text",
    "fail-early",
    "renewal",
    "tokens",
    "misuse",
    "crc-table",
    "sasl",
    "scram",
    "codecs",
    "lz4",
    "snappy",
    "gzip",
    "zstd",
    "pack",
    "schema",
    "stream",
    "futures-core",
    "log",
    "tracing",
];

/// Returns whether code with these attributes is compiled, and is no test.
pub(crate) fn is_active(attrs: &[Attribute]) -> bool {
    attrs.iter().all(|attr| match &attr.meta {
        Meta::List(list) if attr.path().is_ident("cfg") => {
            list.parse_args::<Meta>().map_or(true, |condition| holds(&condition))
        }
        _ => attr.path().segments.last().is_none_or(|segment| segment.ident != "test"),
    })
}

fn holds(condition: &Meta) -> bool {
    match condition {
        Meta::Path(path) => path.is_ident("unix"),
        Meta::NameValue(pair) => {
            let value = match &pair.value {
                syn::Expr::Lit(syn::ExprLit { lit: syn::Lit::Str(text), .. }) => text.value(),
                _ => return false,
            };
            if pair.path.is_ident("feature") {
                return FEATURES.contains(&value.as_str());
            }
            !pair.path.is_ident("target_pointer_width") || value == "64"
        }
        Meta::List(list) => {
            let parse = Punctuated::<Meta, Token![,]>::parse_terminated;
            let Ok(all) = list.parse_args_with(parse) else { return true };
            match list.path.get_ident().map(ToString::to_string).as_deref() {
                Some("not") => !all.iter().any(holds),
                Some("any") => all.iter().any(holds),
                _ => all.iter().all(holds),
            }
        }
    }
}
