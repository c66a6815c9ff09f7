//! Senders that honour what they are told and stay within their bounds.

use super::*;

fn body(spans: u64) -> Parcel {
    let (address, bytes) = (String::new(), Vec::new());
    Parcel::Body(Body { address, user_agent: "", bytes, spans, events: 0, again: false })
}

#[tokio::test]
async fn the_oldest_gives_way_and_is_counted() {
    let lane = Lane::new(2);
    for spans in 1..=3 {
        lane.push(body(spans));
    }
    assert_eq!(lane.next().await.map(|parcel| parcel.spans()), Some(2));
    assert_eq!(lane.next().await.map(|parcel| parcel.spans()), Some(3));
    lane.closed.store(true, Ordering::SeqCst);
    assert!(lane.next().await.is_none());
    assert_eq!(lane.counts.json()["dropped"], 1);
}

#[tokio::test(start_paused = true)]
async fn a_named_pause_holds_the_whole_lane() {
    let lane = Lane::new(2);
    lane.pause(Duration::from_secs(7));
    lane.pause(Duration::from_secs(2));
    let before = Instant::now();
    lane.pause_over().await;
    assert!(before.elapsed() >= Duration::from_secs(7));
}

#[tokio::test(start_paused = true)]
async fn nobody_listens() {
    let targets = Targets {
        beacon: "http://127.0.0.1:1".into(),
        otlp_grpc: "http://127.0.0.1:1".into(),
        otlp_http: "http://127.0.0.1:1".into(),
        write_key: "local".into(),
    };
    let scenario = Scenario::find("steady").expect("it is listed");
    let mut senders = Senders::start(&scenario, &targets, 1).expect("the addresses are valid");
    let export = |service| Export { service, spans: Vec::new(), again: false };
    let Parcel::Body(body) = body(3) else { return };
    senders.take(Output { bodies: vec![body], exports: vec![export(0), export(2), export(3)] });
    senders.close(Duration::from_secs(600)).await;
    let delivery = senders.delivery();
    let lanes = [
        &delivery["beacon"],
        &delivery["services"]["gateway"],
        &delivery["services"]["cart"],
        &delivery["services"]["payment"],
    ];
    for lane in lanes {
        assert_eq!((&lane["refused"], &lane["acknowledged"]), (&1.into(), &0.into()), "{delivery}");
        assert_eq!(lane["retries"], u64::from(TRIES_MAX) - 1);
    }
}

#[test]
fn a_status_names_its_pause() {
    // google.rpc.Status { details: [Any { RetryInfo { retry_delay: 3.5 s } }] }, by hand.
    let name = b"type.googleapis.com/google.rpc.RetryInfo";
    let delay = [&[0x08, 3, 0x10][..], &[0x80, 0xca, 0xb5, 0xee, 0x01]].concat();
    let info = [&[0x0a, delay.len() as u8][..], &delay].concat();
    let any = [&[0x0a, name.len() as u8][..], name, &[0x12, info.len() as u8], &info].concat();
    let status = [&[0x08, 14, 0x1a, any.len() as u8][..], &any].concat();
    assert_eq!(transport::retry_delay(&status), Some(Duration::from_millis(3500)));
    assert_eq!(transport::retry_delay(b""), None);
}
