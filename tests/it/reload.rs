//! SIGHUP: a good file takes over, a bad one changes nothing and says why.

use crate::support::{Gateway, until, upstreams};
use std::fs;
use std::time::Duration;

const ALLOWS: &str = "name = \"suite-models\"\neffect = \"allow\"";
const DENIES: &str = "name = \"suite-models\"\neffect = \"deny\"";
const SOON: Duration = Duration::from_secs(5);

#[test]
fn a_new_rule_takes_over_and_a_bad_file_changes_nothing() {
    let upstreams = upstreams();
    let gateway = Gateway::before(&upstreams);
    let before = fs::read_to_string(gateway.config_file()).expect("its configuration");
    assert_eq!(gateway.chat("hi", "").status(), 200);

    let without = before.replace(ALLOWS, DENIES);
    assert_ne!(without, before);
    fs::write(gateway.config_file(), &without).expect("written");
    gateway.signal("HUP");
    assert!(until(SOON, || gateway.chat("hi", "").status() == 403), "{}", gateway.log());

    fs::write(gateway.config_file(), before.replace("version = 1", "vresion = 1"))
        .expect("written");
    gateway.signal("HUP");
    assert!(until(SOON, || gateway.log().contains("vresion")), "{}", gateway.log());
    assert_eq!(gateway.chat("hi", "").status(), 403, "the last good one stays");

    fs::write(gateway.config_file(), &before).expect("written");
    gateway.signal("HUP");
    assert!(until(SOON, || gateway.chat("hi", "").status() == 200), "{}", gateway.log());
}

#[test]
fn a_live_stream_ends_on_the_rules_it_began_with() {
    let upstreams = upstreams();
    let gateway = Gateway::before(&upstreams);
    let before = fs::read_to_string(gateway.config_file()).expect("its configuration");
    std::thread::scope(|scope| {
        let stream =
            scope.spawn(|| gateway.chat("slow [demo chunks=40 gap_ms=25]", ",\"stream\":true"));
        std::thread::sleep(Duration::from_millis(200));
        let without = before.replace(ALLOWS, DENIES);
        fs::write(gateway.config_file(), &without).expect("written");
        gateway.signal("HUP");
        assert!(until(SOON, || gateway.chat("hi", "").status() == 403), "{}", gateway.log());
        let answer = stream.join().expect("the stream's thread");
        assert_eq!(answer.events().last().map(String::as_str), Some("[DONE]"));
    });
}
