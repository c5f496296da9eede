//! Looks the targets' names up again, for as long as the process lives.
//!
//! Each on a thread of its own: a resolver that hangs on one name holds up neither the control
//! thread nor another name, and is not asked again before it answered.

use crate::config::model::Target;
use crate::coordinator::control::Control;
use crate::gateway::mail::{Note, Order};
use crate::wire::dns::{AddressBook, Found, Name};
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::Builder;

/// What is known of the names, besides their addresses.
pub type Names = BTreeMap<Name, State>;

/// What is known of one name.
#[derive(Debug, Default)]
pub struct State {
    /// Whether a thread looks it up, which may hang.
    is_looking: Arc<AtomicBool>,
    /// Whether the last look found nothing; that was said.
    is_lost: bool,
}

/// Begins to look up every name of the plan.
pub fn look_again(control: &Control) {
    let wanted: BTreeSet<Name> =
        control.plan.borrow().config.targets.iter().filter_map(name_of).collect();
    let mut names = control.names.borrow_mut();
    // One that is no longer wanted is forgotten once its thread ended.
    names.retain(|name, state| wanted.contains(name) || state.is_looking.load(Ordering::Acquire));
    for name in wanted {
        let is_looking = Arc::clone(&names.entry(name.clone()).or_default().is_looking);
        if is_looking.swap(true, Ordering::AcqRel) {
            control
                .say(&format!("names: `{}` is still being looked up; its addresses stay", name.0));
            continue;
        }
        if let Err(error) = begin(control, name, &is_looking) {
            is_looking.store(false, Ordering::Release);
            control.say(&format!("names: no thread to look them up on: {error}"));
        }
    }
}

fn begin(control: &Control, name: Name, is_looking: &Arc<AtomicBool>) -> std::io::Result<()> {
    let notes = control.notes.clone();
    let resolve = Arc::clone(&control.resolve);
    let is_looking = Arc::clone(is_looking);
    let look = move || {
        let found = match resolve(&name.0, name.1) {
            Ok(addresses) if addresses.is_empty() => Err("it has no address".to_owned()),
            Ok(addresses) => Ok(addresses.into()),
            Err(error) => Err(error.to_string()),
        };
        is_looking.store(false, Ordering::Release);
        // Were it lost, the next look would find the same.
        drop(notes.post(Note::Found(name, found)));
    };
    Builder::new().name("dns".into()).spawn(look).map(drop)
}

/// A name was looked up. One that cannot be found keeps the addresses that it had.
pub fn found(control: &Control, name: &Name, found: Found) {
    match found {
        Err(why) => lose(control, name, &why),
        Ok(addresses) => {
            let was_lost = control
                .names
                .borrow_mut()
                .get_mut(name)
                .is_some_and(|state| std::mem::replace(&mut state.is_lost, false));
            if was_lost {
                control.say(&format!("names: `{}` is found again", name.0));
            }
            relocate(control, name, &addresses);
        }
    }
}

/// Says which names of a plan that serves from now on nobody found yet.
pub fn begin_with(control: &Control) {
    let plan = Arc::clone(&control.plan.borrow());
    let book = Arc::clone(&control.addresses.borrow());
    let without = plan.config.targets.iter().zip(&*book).filter(|(_, known)| known.is_empty());
    for name in without.filter_map(|(target, _)| name_of(target)) {
        lose(control, &name, "no look has found it yet");
    }
}

/// Says once that a name cannot be found.
fn lose(control: &Control, name: &Name, why: &str) {
    let was_lost = {
        let mut names = control.names.borrow_mut();
        std::mem::replace(&mut names.entry(name.clone()).or_default().is_lost, true)
    };
    if !was_lost {
        let stay = "the addresses that it had stay";
        control.say(&format!("names: `{}` cannot be found: {why}; {stay}", name.0));
    }
}

/// Tells the workers where a name is now, if it is not where it was.
fn relocate(control: &Control, name: &Name, addresses: &Arc<[SocketAddr]>) {
    let plan = Arc::clone(&control.plan.borrow());
    let book = Arc::clone(&control.addresses.borrow());
    let targets = plan.config.targets.iter().zip(&*book);
    let next: AddressBook = targets
        .map(|(target, known)| {
            let is_it = name_of(target).is_some_and(|own| own == *name);
            Arc::clone(if is_it { addresses } else { known })
        })
        .collect();
    if next != *book {
        let next = Arc::new(next);
        control.addresses.replace(Arc::clone(&next));
        drop(control.order_all(|| Order::Addresses(plan.generation, Arc::clone(&next))));
    }
}

/// The name of a target that is looked up: none where it is a path or an address already.
fn name_of(target: &Target) -> Option<Name> {
    let bare = target.host.trim_start_matches('[').trim_end_matches(']');
    let is_name = target.socket.is_none() && bare.parse::<IpAddr>().is_err();
    is_name.then(|| (Arc::clone(&target.host), target.port))
}
