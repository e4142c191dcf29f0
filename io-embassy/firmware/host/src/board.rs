//! The emulated board: QEMU with one image, the lines that it prints, and its network.

use core::time::Duration;
use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::UdpSocket;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::Instant;

use kavka_tests::kafka::process::Guarded;

use crate::Failure;

/// What the host is called from inside the user network of QEMU.
pub(crate) const HOST: &str = "10.0.2.2";

/// A line of the board: a word, then `name=value` pairs.
#[derive(Clone, Debug)]
pub(crate) struct Line {
    /// When it came.
    pub(crate) at: Instant,
    /// Its first word.
    pub(crate) word: String,
    values: BTreeMap<String, String>,
}

impl Line {
    fn parse(text: &str) -> Self {
        let mut words = text.split_whitespace();
        let word = words.next().unwrap_or_default().to_owned();
        let pairs = words.filter_map(|pair| pair.split_once('='));
        let values = pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        Self { at: Instant::now(), word, values }
    }

    /// The word under `name`.
    ///
    /// # Errors
    /// When there is none.
    pub(crate) fn word_of(&self, name: &str) -> Result<&str, Failure> {
        Ok(self.values.get(name).ok_or_else(|| format!("no {name} in {self:?}"))?)
    }

    /// The number under `name`.
    ///
    /// # Errors
    /// When there is none.
    pub(crate) fn number(&self, name: &str) -> Result<u32, Failure> {
        let value = self.values.get(name).ok_or_else(|| format!("no {name} in {self:?}"))?;
        Ok(value.parse()?)
    }
}

/// How a board is started.
#[derive(Clone, Debug, Default)]
pub(crate) struct Setup {
    image: String,
    arguments: Vec<(String, String)>,
    /// UDP port of the board that the host reaches.
    udp: Option<u16>,
    counted: bool,
    metered: bool,
    logs: bool,
}

impl Setup {
    /// The image of this name.
    pub(crate) fn new(image: &str) -> Self {
        Self { image: image.to_owned(), ..Self::default() }
    }

    /// With an argument for the image.
    #[must_use]
    pub(crate) fn argument(mut self, name: &str, value: impl ToString) -> Self {
        self.arguments.push((name.to_owned(), value.to_string()));
        self
    }

    /// Lets the host reach this UDP port of the board: [`Board::udp`].
    #[must_use]
    pub(crate) fn udp(mut self, port: u16) -> Self {
        self.udp = Some(port);
        self
    }

    /// Keeps what the image logs: [`Board::logs`].
    #[must_use]
    pub(crate) fn logs(mut self, kept: bool) -> Self {
        self.logs = kept;
        self
    }

    /// Every instruction takes 64 ns, and time passes while the board sleeps: for measurements with
    /// a network.
    #[must_use]
    pub(crate) fn metered(mut self, metered: bool) -> Self {
        self.metered = metered;
        self
    }

    /// Time is counted in instructions, 64 ns each: for measurements without a network.
    #[must_use]
    pub(crate) fn counted(mut self) -> Self {
        self.counted = true;
        self
    }
}

/// A running board; ends when dropped.
pub(crate) struct Board {
    _qemu: Guarded,
    lines: Receiver<Line>,
    monitor: UnixStream,
    udp: Option<u16>,
    folder: PathBuf,
    image: PathBuf,
}

impl Board {
    /// Switches it on.
    ///
    /// # Errors
    /// When QEMU does not start.
    pub(crate) fn start(setup: &Setup) -> Result<Self, Failure> {
        let folder = folder()?;
        let console_at = UnixListener::bind(console(&folder))?;
        let monitor_at = UnixListener::bind(monitor(&folder))?;
        let udp = setup.udp.map(|_| free_port()).transpose()?;
        let args = arguments(setup, udp, &folder)?;
        let words = folder.join("qemu.log");
        let qemu = Guarded::start("qemu-system-arm", &args, &words)?;
        let accept = |listener: &UnixListener| -> Result<UnixStream, Failure> {
            listener.set_nonblocking(true)?;
            let deadline = Instant::now() + Duration::from_secs(30);
            loop {
                if let Ok((stream, _)) = listener.accept() {
                    stream.set_nonblocking(false)?;
                    return Ok(stream);
                }
                if qemu.has_ended() || Instant::now() > deadline {
                    let said = fs::read_to_string(&words).unwrap_or_default();
                    return Err(format!("QEMU did not start: {said}").into());
                }
                thread::sleep(Duration::from_millis(5));
            }
        };
        // The order in which QEMU makes them.
        let console = accept(&console_at)?;
        let monitor = accept(&monitor_at)?;
        let (lines, image) = (read_lines(console), image(&setup.image));
        Ok(Self { _qemu: qemu, lines, monitor, udp, folder, image })
    }

    /// Where the host reaches the board's UDP port.
    pub(crate) fn udp(&self) -> u16 {
        self.udp.unwrap_or_default()
    }

    /// The file that it runs.
    pub(crate) fn image(&self) -> &Path {
        &self.image
    }

    /// What it has logged so far.
    ///
    /// # Errors
    /// When [`Setup::logs`] did not request it.
    pub(crate) fn logs(&self) -> Result<Vec<u8>, Failure> {
        Ok(fs::read(log(&self.folder))?)
    }

    /// The next line, or `None` at `deadline`.
    ///
    /// # Errors
    /// When the board failed, or ended.
    pub(crate) fn next(&self, deadline: Instant) -> Result<Option<Line>, Failure> {
        let left = deadline.saturating_duration_since(Instant::now());
        let line = match self.lines.recv_timeout(left) {
            Ok(line) => line,
            Err(RecvTimeoutError::Timeout) => return Ok(None),
            Err(RecvTimeoutError::Disconnected) => return Err("the board ended".into()),
        };
        match line.word.as_str() {
            "failed" | "panic" | "fault" | "watchdog" => Err(format!("the board: {line:?}").into()),
            _ => Ok(Some(line)),
        }
    }

    /// The line of the watchdog, which has to come within `limit`.
    ///
    /// # Errors
    /// When it does not.
    pub(crate) fn bite(&self, limit: Duration) -> Result<Line, Failure> {
        let deadline = Instant::now() + limit;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let line = self.lines.recv_timeout(left).map_err(|_| "the watchdog never bites")?;
            if line.word == "watchdog" {
                return Ok(line);
            }
        }
    }

    /// Takes the lines that wait.
    ///
    /// # Errors
    /// When the board failed, or ended.
    pub(crate) fn still_runs(&self) -> Result<(), Failure> {
        while self.next(Instant::now())?.is_some() {}
        Ok(())
    }

    /// Waits for the line that begins with `word`, for at most `limit`; `other` gets those before.
    ///
    /// # Errors
    /// When it does not come in time, and those of [`Board::next`] and `other`.
    pub(crate) fn wait(
        &self,
        word: &str,
        limit: Duration,
        mut other: impl FnMut(&Line) -> Result<(), Failure>,
    ) -> Result<Line, Failure> {
        let deadline = Instant::now() + limit;
        while let Some(line) = self.next(deadline)? {
            if line.word == word {
                return Ok(line);
            }
            other(&line)?;
        }
        Err(format!("no line {word:?} of the board within {limit:?}").into())
    }

    /// Takes the network cable out, or puts it in.
    ///
    /// # Errors
    /// When QEMU is gone.
    pub(crate) fn set_link(&mut self, up: bool) -> Result<(), Failure> {
        let state = if up { "on" } else { "off" };
        writeln!(self.monitor, "set_link ethernet {state}")?;
        Ok(())
    }
}

impl Drop for Board {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// Where lines of the board come out.
fn console(folder: &Path) -> PathBuf {
    folder.join("console")
}

/// Where QEMU takes orders.
fn monitor(folder: &Path) -> PathBuf {
    folder.join("monitor")
}

/// Where the board's UART writes to.
fn log(folder: &Path) -> PathBuf {
    folder.join("log")
}

fn arguments(setup: &Setup, udp: Option<u16>, folder: &Path) -> Result<Vec<String>, Failure> {
    let image = image(&setup.image);
    if !image.exists() {
        return Err(format!("{} is not built", image.display()).into());
    }
    let mut network = "user,id=ethernet,model=lan9118".to_owned();
    if let (Some(host), Some(board)) = (udp, setup.udp) {
        network.push_str(&format!(",hostfwd=udp:127.0.0.1:{host}-:{board}"));
    }
    let mut semihosting = "enable=on,target=native,chardev=console,arg=board".to_owned();
    for (name, value) in &setup.arguments {
        semihosting.push_str(&format!(",arg={name}={}", value.replace(',', ",,")));
    }
    let mut all: Vec<String> = ["-M", "mps2-an386", "-display", "none"].map(str::to_owned).to_vec();
    let mut add = |option: &str, value: String| all.extend([option.to_owned(), value]);
    add("-chardev", format!("socket,id=console,path={}", console(folder).display()));
    add("-chardev", format!("socket,id=monitor,path={}", monitor(folder).display()));
    if setup.logs {
        add("-chardev", format!("file,id=log,path={}", log(folder).display()));
        add("-serial", "chardev:log".to_owned());
    } else {
        add("-serial", "none".to_owned());
    }
    add("-monitor", "chardev:monitor".to_owned());
    add("-nic", network);
    add("-semihosting-config", semihosting);
    if setup.metered {
        add("-icount", "shift=6".to_owned());
    }
    if setup.counted {
        add("-icount", "shift=6,sleep=off".to_owned());
    }
    add("-kernel", image.display().to_string());
    Ok(all)
}

/// The file of the image of this name.
pub(crate) fn image(name: &str) -> PathBuf {
    images().join(name)
}

/// The folder of the images: `KAVKA_BOARD_IMAGES`, or where cargo puts them.
fn images() -> PathBuf {
    let built = "../target/thumbv7em-none-eabihf/release";
    let built = || Path::new(env!("CARGO_MANIFEST_DIR")).join(built);
    std::env::var_os("KAVKA_BOARD_IMAGES").map_or_else(built, PathBuf::from)
}

fn read_lines(console: UnixStream) -> Receiver<Line> {
    let (reported, lines) = mpsc::channel();
    thread::spawn(move || {
        let talkative = std::env::var_os("KAVKA_BOARD_LINES").is_some();
        for text in BufReader::new(console).lines() {
            let Ok(text) = text else { break };
            if talkative {
                println!("    {text}");
            }
            if reported.send(Line::parse(&text)).is_err() {
                break;
            }
        }
    });
    lines
}

fn folder() -> Result<PathBuf, Failure> {
    let name = format!("kavka-board-{}-{}", std::process::id(), fastrand::u32(..));
    let folder = std::env::temp_dir().join(name);
    fs::create_dir_all(&folder)?;
    Ok(folder)
}

/// An unused UDP port of this host.
fn free_port() -> Result<u16, Failure> {
    Ok(UdpSocket::bind(("127.0.0.1", 0))?.local_addr()?.port())
}
