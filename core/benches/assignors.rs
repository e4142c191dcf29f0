//! What a leader of a classic group takes for a plan: 50 members that share 1,000 partitions of ten
//! topics, and groups that are ten times as large. From the first subscription to the last
//! assignment; the bar is 50 ms for the smaller one.
//!
//! `cargo bench -p kavka-core --bench assignors --features std,classic`

use core::hint::black_box;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use kavka_core::wire::consumer_protocol::{Joining, UserData};
use kavka_core::wire::{SliceSink, Writer};
use kavka_core::{Assignor, Leader};

const TOPICS: usize = 10;

struct Group {
    topics: Vec<String>,
    /// Id and subscription.
    members: Vec<(String, Vec<u8>)>,
    count: u32,
}

impl Group {
    /// All partitions are owned by all members but the last one, which has just come. Unless all
    /// subscribe to the same topics, each leaves out one.
    fn new(assignor: Assignor, members: usize, partitions: usize, equal: bool) -> Self {
        let topics: Vec<String> = (0..TOPICS).map(|topic| format!("a-topic-{topic}")).collect();
        let count = (partitions / TOPICS) as i32;
        let member = |at: usize| {
            let first = if at + 1 < members { at as i32 } else { count };
            let wanted = |topic: usize| equal || topic != at % TOPICS;
            let names = topics.iter().enumerate().filter(|(topic, _)| wanted(*topic));
            let names = names.map(|(_, name)| name.as_str());
            let owned = names.clone().map(|name| (name, (first..count).step_by(members - 1)));
            let user_data = match assignor {
                Assignor::Sticky => UserData::Previous(owned.clone(), 7),
                _ => UserData::Generation(7),
            };
            let joining = Joining { topics: names, user_data, owned, generation: 7, rack: None };
            let mut room = vec![0; joining.len(3)];
            joining.write(3, &mut Writer::new(&mut SliceSink::new(&mut room))).expect("it fits");
            (format!("consumer-6f1c2b7e-{at:05}"), room)
        };
        let members = (0..members).map(member).collect();
        Self { topics, members, count: count as u32 }
    }

    fn plan(&self, leader: &mut Leader<'_>, assignor: Assignor, out: &mut [u8]) -> usize {
        leader.begin();
        for (id, bytes) in &self.members {
            leader.member(id, None, bytes).expect("there is room");
        }
        for topic in 0..self.topics.len() {
            leader.count(topic, self.count);
        }
        leader.plan(assignor).expect("there is room");
        let mut sink = SliceSink::new(out);
        for member in 0..leader.members() {
            leader.write_assignment(member, &mut Writer::new(&mut sink)).expect("there is room");
        }
        sink.len()
    }
}

fn plans(bench: &mut Criterion) {
    for (members, partitions) in [(50, 1000), (500, 10_000)] {
        let mut group =
            bench.benchmark_group(format!("{members} members, {partitions} partitions"));
        group.sample_size(20);
        let mut leader = Leader::heap(members, 16, partitions, 4 << 20);
        let mut out = vec![0; 4 << 20];
        for assignor in Assignor::ALL {
            for (name, equal) in [("same topics", true), ("different topics", false)] {
                let of = Group::new(assignor, members, partitions, equal);
                let id = BenchmarkId::new(assignor.name(), name);
                group.bench_function(id, |bench| {
                    bench.iter(|| black_box(of.plan(&mut leader, assignor, &mut out)));
                });
            }
        }
        group.finish();
    }
}

criterion_group!(benches, plans);
criterion_main!(benches);
