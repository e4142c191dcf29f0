//! Lines of text to the host by semihosting: a word, then `name=number` pairs. No `core::fmt`,
//! which would be a third of the flash.

use core::str;

use cortex_m_semihosting::{nr, syscall, syscall1};
use static_cell::ConstStaticCell;

/// Longest line, in bytes.
const LINE: usize = 160;

/// A line in the making; what does not fit is cut off.
pub struct Line {
    bytes: [u8; LINE],
    len: usize,
}

impl Line {
    /// Begins with `word`.
    #[must_use]
    pub fn new(word: &str) -> Self {
        Self { bytes: [0; LINE], len: 0 }.text(word)
    }

    fn text(mut self, text: &str) -> Self {
        let room = LINE - 2 - self.len; // a line feed and a zero end it
        let len = text.len().min(room);
        self.bytes[self.len..self.len + len].copy_from_slice(&text.as_bytes()[..len]);
        self.len += len;
        self
    }

    /// Adds ` name=value`.
    #[must_use]
    pub fn number(self, name: &str, value: u32) -> Self {
        let mut digits = [0; 10];
        let mut at = digits.len();
        let mut rest = value;
        loop {
            at -= 1;
            digits[at] = b'0' + (rest % 10) as u8;
            rest /= 10;
            if rest == 0 {
                break;
            }
        }
        self.word(name, str::from_utf8(&digits[at..]).unwrap_or_default())
    }

    /// Adds ` name=value`.
    #[must_use]
    pub fn word(self, name: &str, value: &str) -> Self {
        self.text(" ").text(name).text("=").text(value)
    }

    /// Sends it: one semihosting call, as each of them stops the machine.
    pub fn print(mut self) {
        self.bytes[self.len] = b'\n';
        self.bytes[self.len + 1] = 0;
        // SAFETY: the call reads up to the zero.
        unsafe { syscall1(nr::WRITE0, self.bytes.as_ptr() as usize) };
    }
}

/// Reads a file of the host into `out`. The image ends where there is none, or it is longer.
#[cfg(feature = "tls")]
pub fn file<'o>(name: &str, out: &'o mut [u8]) -> &'o [u8] {
    const READ_BINARY: usize = 1;
    let mut path = [0; 128]; // a zero ends it
    need(path.get_mut(..name.len()).filter(|place| place.len() < 128), "file")
        .copy_from_slice(name.as_bytes());
    let opened = [path.as_ptr() as usize, READ_BINARY, name.len()];
    // SAFETY: the call reads the name.
    let file = unsafe { syscall(nr::OPEN, &opened) };
    if file == usize::MAX {
        fail("file");
    }
    let read = [file, out.as_mut_ptr() as usize, out.len()];
    // SAFETY: the call writes at most as many bytes as it is told.
    let left = unsafe { syscall(nr::READ, &read) };
    let len = out.len().saturating_sub(left);
    need(out.get(..len).filter(|bytes| !bytes.is_empty() && left > 0), "file")
}

/// Says why, and ends in failure.
pub fn fail(why: &str) -> ! {
    Line::new("failed").word("why", why).print();
    exit(false)
}

/// Returns what is in `option`; the image ends without it.
pub fn need<T>(option: Option<T>, what: &str) -> T {
    match option {
        Some(value) => value,
        None => fail(what),
    }
}

/// Ends the emulation; `end good=1` is the line that a good run ends with.
pub fn exit(good: bool) -> ! {
    const SYS_EXIT_EXTENDED: usize = 0x20;
    const APPLICATION_EXIT: u32 = 0x2_0026;
    Line::new("end").number("good", u32::from(good)).print();
    loop {
        // SAFETY: the call reads these two words.
        unsafe { syscall(SYS_EXIT_EXTENDED, &[APPLICATION_EXIT, u32::from(!good)]) };
    }
}

/// The words that the host started the image with: `name=value` each.
pub struct Arguments {
    text: [u8; 256],
}

impl Arguments {
    /// Reads them from the host; once.
    #[must_use]
    pub fn read() -> &'static Self {
        static ARGUMENTS: ConstStaticCell<Arguments> =
            ConstStaticCell::new(Arguments { text: [0; 256] });
        let arguments = ARGUMENTS.take();
        let mut block = [arguments.text.as_mut_ptr() as usize, arguments.text.len()];
        // SAFETY: the call writes at most as many bytes as the block says.
        let failed = unsafe { syscall1(nr::GET_CMDLINE, (&raw mut block) as usize) } != 0;
        if failed {
            fail("no-command-line");
        }
        arguments
    }

    /// The value of `name`.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        let len = self.text.iter().position(|byte| *byte == 0)?;
        let words = str::from_utf8(&self.text[..len]).ok()?.split(' ');
        words.filter_map(|word| word.split_once('=')).find(|(n, _)| *n == name).map(|(_, v)| v)
    }

    /// 32 bytes from number `seed`. A device takes them from its generator of random numbers; a
    /// run that is to be repeated gives the same ones.
    #[must_use]
    pub fn seed(&self) -> [u8; 32] {
        let mut state = self.number("seed", 1);
        core::array::from_fn(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        })
    }

    /// The number that `name` has, or `otherwise`.
    #[must_use]
    pub fn number(&self, name: &str, otherwise: u32) -> u32 {
        self.get(name).and_then(|value| value.parse().ok()).unwrap_or(otherwise)
    }
}

#[panic_handler]
fn panic(_info: &core::panic::PanicInfo) -> ! {
    cortex_m::interrupt::disable();
    // Looking at the reason would bring in `core::fmt`.
    #[cfg(feature = "locations")]
    if let Some(at) = _info.location() {
        Line::new("panic").word("file", at.file()).number("line", at.line()).print();
    }
    fail("panic")
}
