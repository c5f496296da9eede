//! SIGHUP: a good file takes over, a bad one changes nothing and says why.

use crate::support::{Gateway, until, upstreams};
use std::fs;
use std::time::Duration;

const ALLOWS: &str = "name = \"suite-models\"\neffect = \"allow\"";
const DENIES: &str = "name = \"suite-models\"\neffect = \"deny\"";
/// A reload compiles every pattern, and a test machine is busy.
const SOON: Duration = Duration::from_secs(20);

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
    let mut stream = gateway.begin_stream("slow [demo chunks=120 gap_ms=25]");
    fs::write(gateway.config_file(), before.replace(ALLOWS, DENIES)).expect("written");
    gateway.signal("HUP");
    assert!(until(SOON, || gateway.chat("hi", "").status() == 403), "{}", gateway.log());
    let answer = stream.answer("POST");
    assert_eq!(answer.events().last().map(String::as_str), Some("[DONE]"));
}
