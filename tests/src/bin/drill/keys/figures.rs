//! What all topics of a run showed.

use core::time::Duration;

use kavka_std::KeyOrder;

use crate::options::Options;

/// Upper bounds of the histogram's bars, in milliseconds.
const BARS: [u32; 11] = [2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, u32::MAX];
const WIDTH: u64 = 40;

/// See the module.
#[derive(Default)]
pub(crate) struct Figures {
    pub(crate) growths: u32,
    pub(crate) kills: u32,
    pub(crate) sent: u64,
    pub(crate) acknowledged: u64,
    pub(crate) failed: u64,
    pub(crate) read: u64,
    pub(crate) lost: u64,
    pub(crate) doubled: u64,
    /// Read after a later one of the same producer and key.
    pub(crate) reordered: u64,
    /// Appended after a later one of the same producer and key, by the clocks of the brokers.
    pub(crate) appended: u64,
    /// Microseconds from when a record was due to its acknowledgement: of all, and of those within
    /// a second after a growth.
    pub(crate) latencies: Vec<u32>,
    pub(crate) near: Vec<u32>,
    /// How long drains took, the slowest acknowledgement of what was under way, and whether all was
    /// settled.
    pub(crate) drains: Vec<(Duration, Duration, bool)>,
    /// How long added partitions were held at readers, and whether that was in order.
    pub(crate) waits: Vec<(Duration, bool)>,
}

/// Returns a quantile of ascending values by nearest rank.
fn quantile<T: Copy + Default>(sorted: &[T], share: f64) -> T {
    let rank = (share * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.clamp(1, sorted.len().max(1)) - 1).copied().unwrap_or_default()
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

impl Figures {
    /// Whether all records were read once, and in the order that was promised.
    pub(crate) fn is_good(&self, options: &Options) -> bool {
        let once = self.lost == 0 && self.doubled == 0 && self.failed == 0 && self.sent > 0;
        let ordered = options.policy.is_none_or(|policy| !policy.is_follow());
        let at_readers = ordered && options.ordered_growth.is_some() && options.double;
        once && (!ordered || self.appended == 0) && (!at_readers || self.reordered == 0)
    }

    pub(crate) fn print(&mut self, policy: KeyOrder) {
        let Self { growths, kills, sent, acknowledged, failed, read, lost, doubled, .. } = *self;
        println!("{policy:?}: {growths} growths, {kills} brokers killed");
        println!("sent {sent}, acknowledged {acknowledged}, failed {failed}, read {read}");
        println!(
            "lost {lost}, doubled {doubled}; out of order: {} appended, {} read",
            self.appended, self.reordered
        );
        for (name, of) in [
            ("due → acknowledged", &mut self.latencies),
            ("within a second after a growth", &mut self.near),
        ] {
            of.sort_unstable();
            let at = |share| f64::from(quantile(of, share)) / 1e3;
            println!(
                "{name}: {} records, p50 {:.1} ms, p99 {:.1} ms, p99.9 {:.1} ms, max {:.0} ms",
                of.len(),
                at(0.5),
                at(0.99),
                at(0.999),
                at(1.0)
            );
        }
        self.print_histogram();
        if !self.drains.is_empty() {
            self.print_drains();
        }
        if !self.waits.is_empty() {
            let late = self.waits.iter().filter(|(_, ordered)| !ordered).count();
            let mut waits: Vec<Duration> = self.waits.iter().map(|(waited, _)| *waited).collect();
            waits.sort_unstable();
            println!(
                "partitions held at readers: {} ({late} late), p50 {:.0} ms, max {:.0} ms",
                waits.len(),
                ms(quantile(&waits, 0.5)),
                ms(quantile(&waits, 1.0))
            );
        }
    }

    fn print_drains(&self) {
        let mut held: Vec<Duration> = self.drains.iter().map(|(held, ..)| *held).collect();
        held.sort_unstable();
        let slowest = self.drains.iter().map(|(_, slowest, _)| *slowest).max().unwrap_or_default();
        let unsettled = self.drains.iter().filter(|(.., settled)| !settled).count();
        // Events come a moment after what they report.
        let jitter = Duration::from_millis(20);
        let longer = |(held, slowest, _): &&(Duration, Duration, bool)| *held > *slowest + jitter;
        println!(
            "drains: {} ({unsettled} unsettled), growth noticed → keys move: p50 {:.1} ms, p99 \
             {:.1} ms, max {:.1} ms; slowest acknowledgement under way {:.1} ms; {} held longer \
             than their own",
            held.len(),
            ms(quantile(&held, 0.5)),
            ms(quantile(&held, 0.99)),
            ms(quantile(&held, 1.0)),
            ms(slowest),
            self.drains.iter().filter(longer).count()
        );
    }

    fn print_histogram(&self) {
        let mut low = 0;
        for high in BARS {
            let upto = high.saturating_mul(1000);
            let within = |micros: &&u32| **micros > low && **micros <= upto;
            let count = self.latencies.iter().filter(within).count() as u64;
            let width = (count * WIDTH).div_ceil(self.latencies.len().max(1) as u64) as usize;
            let name = if high == u32::MAX { "longer".into() } else { format!("{high} ms") };
            println!("{name:>8} {} {count}", "█".repeat(width));
            low = upto;
        }
    }
}
