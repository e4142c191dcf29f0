//! What goes wrong around the gateway: one thing at a time, in an order that a seed decides.

use core::time::Duration;
use std::thread;
use std::time::Instant;

use fastrand::Rng;
use kavka_tests::kafka::Cluster;

use crate::Failure;
use crate::board::Board;

/// How long a broker is stopped: longer than its session.
const STANDSTILL: Duration = Duration::from_secs(6);
/// How long a killed broker is away.
const ABSENCE: Duration = Duration::from_secs(6);
/// How long the cable is out.
const UNPLUGGED: Duration = Duration::from_secs(5);

/// Something that goes wrong, or changes.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Fault {
    /// A broker is killed, and started again.
    Kill,
    /// A broker is stopped, and continues.
    Stop,
    /// The link is taken down, and up.
    Unplug,
    /// The topic grows by three partitions.
    Grow,
}

/// All that happens in one short run, in some order.
pub(crate) fn each_once(random: &mut Rng) -> Vec<Fault> {
    let mut all = vec![Fault::Kill, Fault::Stop, Fault::Unplug, Fault::Grow, Fault::Grow];
    random.shuffle(&mut all);
    all
}

/// One of them. A topic does not grow beyond `most` partitions.
pub(crate) fn any(random: &mut Rng, partitions: u32, most: u32) -> Fault {
    let last = if partitions + 3 <= most { 4 } else { 3 };
    [Fault::Kill, Fault::Stop, Fault::Unplug, Fault::Grow][random.usize(..last)]
}

/// Lets it happen, and waits until it is over.
pub(crate) fn happen(
    fault: Fault,
    cluster: &Cluster,
    board: &mut Board,
    topic: (&str, &mut u32),
    random: &mut Rng,
) -> Result<(), Failure> {
    let node = random.usize(1..=cluster.nodes());
    let begun = Instant::now();
    match fault {
        Fault::Kill => {
            cluster.kill(node)?;
            thread::sleep(ABSENCE);
            cluster.restart(node)?;
        }
        Fault::Stop => {
            cluster.pause(node)?;
            thread::sleep(STANDSTILL);
            cluster.resume(node)?;
        }
        Fault::Unplug => {
            board.set_link(false)?;
            thread::sleep(UNPLUGGED);
            board.set_link(true)?;
        }
        Fault::Grow => {
            *topic.1 += 3;
            cluster.grow_at_last(topic.0, *topic.1)?;
        }
    }
    let seconds = begun.elapsed().as_secs_f32();
    match fault {
        Fault::Kill | Fault::Stop => println!("  {fault:?} broker {node}: {seconds:.1} s"),
        Fault::Unplug => println!("  {fault:?}: {seconds:.1} s"),
        Fault::Grow => println!("  {fault:?} to {} partitions: {seconds:.1} s", topic.1),
    }
    Ok(())
}
