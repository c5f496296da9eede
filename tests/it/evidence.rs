//! The audit log survives what happens to the process.

use crate::support::{Gateway, config, run, upstreams};
use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

const WARM_UP: Duration = Duration::from_millis(700);

#[test]
fn after_a_kill_under_load_the_log_verifies_and_goes_on() {
    let upstreams = upstreams();
    let config = config(&upstreams);
    let gateway = Gateway::start(&config, &[]);
    let folder = crash_under_load(gateway);
    let audit = folder.path().join("audit").display().to_string();
    let verified = run(&["audit", "verify", &audit]);
    let said = String::from_utf8_lossy(&verified.stdout).into_owned();
    assert!(verified.status.success(), "{said}{}", String::from_utf8_lossy(&verified.stderr));

    let mut again = Gateway::start_in(folder, &config, &[]);
    assert_eq!(again.chat("after the crash", "").status(), 200);
    again.signal("TERM");
    assert!(again.wait().success(), "{}", again.log());
    let verified = run(&["audit", "verify", &audit]);
    assert!(verified.status.success(), "{}", String::from_utf8_lossy(&verified.stderr));
    assert!(String::from_utf8_lossy(&verified.stdout) != said, "it says where the log ends");
}

fn crash_under_load(gateway: Gateway) -> tempfile::TempDir {
    let stop = AtomicBool::new(false);
    let target = (gateway.address, &stop);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(move || load(target.0, target.1));
        }
        std::thread::sleep(WARM_UP);
        let folder = gateway.crash();
        stop.store(true, Ordering::Release);
        folder
    })
}

/// Asks until told to stop; what fails once the gateway is gone is the point of it.
fn load(address: std::net::SocketAddr, stop: &AtomicBool) {
    use std::io::{Read, Write};
    let body = "{\"model\":\"demo-model\",\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]}";
    let request = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: gateway\r\nconnection: close\r\n\
         authorization: Bearer suite-key\r\ncontent-type: application/json\r\n\
         content-length: {}\r\n\r\n{body}",
        body.len()
    );
    while !stop.load(Ordering::Acquire) {
        let Ok(mut stream) = std::net::TcpStream::connect(address) else { continue };
        let mut answer = Vec::new();
        if stream.write_all(request.as_bytes()).is_ok() {
            stream.read_to_end(&mut answer).unwrap_or_default();
        }
    }
}

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
