//! An application that polls nothing for longer than a request may take.

use embassy_futures::select::select;
use embassy_time::{Duration, Timer};
use kavka_core::{Client, Config, Limits, Storage};
use kavka_embassy::SocketMem;
use kavka_embassy::net::NetDriver;
use kavka_tests::sim::journal::News;
use kavka_tests::sim::{ApiKey, Journal, Options};

use crate::brokers::{Named, start};
use crate::cancel::serve;
use crate::executor::{Executor, shared};
use crate::wire::cable;

/// The response is in the socket all the time: 40 s are more than a request may take, 130 s are
/// more than a record may.
#[test]
fn what_has_arrived_counts_before_what_is_too_late() {
    for away in [40, 130] {
        let mut executor = Executor::new();
        executor.step = Duration::from_millis(1);
        let (device, far) = cable(&mut executor);
        let options = Options { brokers: 1, ..Options::default() };
        let (brokers, bootstrap) = start(&mut executor, far, 1, Named::ByAddress, options);
        brokers.borrow_mut().cluster.create_topic("t", 1).expect("created");
        let config = Config::new(bootstrap.leak());
        let storage = Storage::heap(&Limits::small());
        let client = Client::new(config, storage, [1; 32]).expect("a client");
        let sockets = Box::leak(Box::new(SocketMem::<2, 1024, 1024>::new())).sockets(device);
        let mut driver = NetDriver::new(client, sockets);
        let topic = driver.topic("t").expect("a topic");
        let journal = shared(Journal::default());
        journal.borrow_mut().send(topic, "one");
        let counters = brokers.borrow().cluster.counters();
        let produced = move || counters.of(ApiKey::Produce).requests;
        let (task, requested) = (journal.clone(), produced.clone());
        executor.spawn(async move {
            while requested() == 0 {
                serve(&mut driver, &mut task.borrow_mut());
                select(driver.turn(), Timer::after_millis(1)).await;
            }
            Timer::after_secs(away).await;
            loop {
                driver.turn().await;
                serve(&mut driver, &mut task.borrow_mut());
            }
        });
        executor.run_for(Duration::from_secs(away + 5));
        let journal = journal.borrow();
        let disconnected = journal.first(|news| matches!(news, News::Disconnected { .. }));
        assert_eq!(disconnected, None, "away for {away} s");
        assert!(journal.lost.is_empty(), "away for {away} s: {:?}", journal.lost);
        assert!(journal.sent_all(), "away for {away} s");
        assert_eq!(produced(), 1, "away for {away} s");
    }
}
