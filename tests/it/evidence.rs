//! The audit log survives what happens to the process.

use crate::support::{Gateway, run, upstreams};
use std::fs;

#[test]
fn a_changed_record_is_found() {
    let upstreams = upstreams();
    let mut gateway = Gateway::before(&upstreams);
    for _ in 0..3 {
        assert_eq!(gateway.chat("hi", "").status(), 200);
    }
    gateway.signal("TERM");
    assert!(gateway.wait().success(), "{}", gateway.log());
    let folder = gateway.audit_folder();
    let entries = fs::read_dir(&folder).expect("the log's folder").flatten();
    let file = entries
        .map(|entry| entry.path())
        .find(|path| fs::read_to_string(path).is_ok_and(|text| text.contains("suite@example.com")));
    let file = file.expect("a file with records");
    let text = fs::read_to_string(&file).expect("it is text");
    fs::write(&file, text.replacen("suite@example.com", "other@example.com", 1)).expect("written");
    let verified = run(&["audit", "verify", &folder.display().to_string()]);
    assert!(!verified.status.success(), "a forged record passed");
}
