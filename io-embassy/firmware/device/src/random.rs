//! Random bytes from argument `entropy`, 64 hexadecimal digits that the host draws for each run,
//! since the emulated board has no generator. A chip has one: use that.

use core::cell::RefCell;

use critical_section::Mutex;
use sha2::{Digest as _, Sha256};

use crate::console::{Arguments, need};

struct State {
    key: [u8; 32],
    drawn: u32,
}

static STATE: Mutex<RefCell<State>> = Mutex::new(RefCell::new(State { key: [0; 32], drawn: 0 }));

/// Takes the argument over.
pub fn start(arguments: &Arguments) {
    let digits = need(arguments.get("entropy"), "entropy").as_bytes();
    let digit = |at: usize| {
        let digit = digits.get(at).and_then(|digit| char::from(*digit).to_digit(16));
        need(digit, "entropy") as u8
    };
    critical_section::with(|cs| {
        let key = &mut STATE.borrow_ref_mut(cs).key;
        for (at, byte) in key.iter_mut().enumerate() {
            *byte = digit(2 * at) << 4 | digit(2 * at + 1);
        }
    });
}

/// Fills all of `out`.
pub fn fill(out: &mut [u8]) {
    critical_section::with(|cs| {
        let state = &mut *STATE.borrow_ref_mut(cs);
        for piece in out.chunks_mut(32) {
            let hash =
                Sha256::new().chain_update(state.key).chain_update(state.drawn.to_be_bytes());
            piece.copy_from_slice(&hash.finalize()[..piece.len()]);
            state.drawn += 1;
        }
    });
}
