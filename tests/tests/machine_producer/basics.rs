use kafka_protocol::messages::ProduceRequest;
use kavka_tests::script::{Script, World};

#[test]
fn a_record_is_sent_and_told_as_delivered() {
    let mut s = Script::new(World::new(1).topic("t", 1));
    let t = s.ready("t");
    s.produce(t, 0, "hello");
    let asked = s.expect::<ProduceRequest>();
    let batches = s.batches(&asked);
    assert_eq!(batches[0].values, ["hello"]);
    assert_eq!(batches[0].place(), (0, 0, 1));
    s.acknowledge(&asked, 41);
    assert_eq!(s.delivered(), [(1, Some(41))]);
}

#[test]
fn retries_keep_their_sequence_and_order() {
    let mut s = Script::new(World::new(1).topic("t", 1));
    let t = s.ready("t");
    let mut asked = Vec::new();
    for i in 0..5 {
        s.produce(t, 0, &i.to_string());
        asked.push(s.expect::<ProduceRequest>());
    }
    s.refuse(&asked[0], 19);
    for later in &asked[1..] {
        s.refuse(later, 45);
    }
    for i in 0..5 {
        let again = s.expect::<ProduceRequest>();
        let sent = &s.batches(&again)[0];
        assert_eq!((sent.values[0].as_str(), sent.place()), (&*i.to_string(), (0, i, 1)));
        s.acknowledge(&again, i.into());
    }
    assert_eq!(s.delivered().len(), 5);
}
