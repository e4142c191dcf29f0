//! How deep the stack ever was: `cortex-m-rt` paints it at the start.

/// Bytes ever used, and bytes there are.
#[must_use]
pub fn used() -> (u32, u32) {
    unsafe extern "C" {
        static _stack_start: u32; // its upper end
        static _stack_end: u32; // its lower end
    }
    let (low, high) = (&raw const _stack_end, &raw const _stack_start);
    let mut at = low;
    // SAFETY: between the two symbols lies the stack and nothing else.
    while at < high && unsafe { at.read_volatile() } == cortex_m_rt::STACK_PAINT_VALUE {
        at = at.wrapping_add(1);
    }
    ((high as usize - at as usize) as u32, (high as usize - low as usize) as u32)
}
