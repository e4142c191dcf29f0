//! Logins. `Debug` of their responses leaves out what may be a secret.

use kavka_core::wire::{self, Encode, Full, Writer};
use serde_json::{Value, json};

use crate::hex;
use crate::requests::text;
use crate::typed::{Builder, code};
use crate::vectors::unhex;

pub(crate) fn handshake(to: &mut Builder, item: wire::sasl_handshake::Item<'_>) {
    use wire::sasl_handshake::Item::*;
    match item {
        Head { error } => to.set("", json!({ "errorCode": code(error) })),
        Mechanism { name } => to.push("mechanisms", json!({ "name": name })),
        other => panic!("{other:?}"),
    }
}

pub(crate) fn authenticate(to: &mut Builder, item: wire::sasl_authenticate::Item<'_>) {
    use wire::sasl_authenticate::Item::*;
    match item {
        Response { error, message, bytes, lifetime_ms } => to.set(
            "",
            json!({
                "errorCode": code(error), "errorMessage": message,
                "authBytes": format!("hex:{}", hex(bytes)), "sessionLifetimeMs": lifetime_ms,
            }),
        ),
        _ => panic!("skipped"),
    }
}

/// Returns the item as text, with all that it has.
pub(crate) fn debug(item: &wire::sasl_authenticate::Item<'_>) -> String {
    use wire::sasl_authenticate::Item::*;
    match item {
        Response { error, message, bytes, lifetime_ms } => {
            format!("{error:?} {message:?} {bytes:?} {lifetime_ms}")
        }
        _ => "Skipped".to_owned(),
    }
}

pub(crate) fn write_handshake(
    version: i16,
    body: &Value,
    out: &mut Writer<'_>,
) -> Result<(), Full> {
    wire::sasl_handshake::Request { mechanism: text(&body["mechanism"]) }.encode(version, out)
}

pub(crate) fn write_authenticate(
    version: i16,
    body: &Value,
    out: &mut Writer<'_>,
) -> Result<(), Full> {
    let bytes = unhex(text(&body["authBytes"]).trim_start_matches("hex:"));
    wire::sasl_authenticate::begin(out, version, bytes.len())?;
    out.raw(&bytes)?;
    wire::sasl_authenticate::end(out, version)
}
