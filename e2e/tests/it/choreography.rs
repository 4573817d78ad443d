//! `choreography.toml` against the code: what it says happens is what happens, and nothing happens that it does not
//! say. An orphan event, a wait without an end, an effect without a compensation are objections.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::LazyLock,
};

use shared::{
    choreography::{Choreography, Effect, Event, Reaction, TEXT, Wait},
    contract::{catalogue, topics::Topic},
    decider::Decider,
};

use crate::reachable::{self, Facts, What};

static FACTS: LazyLock<[(&str, Facts); 3]> = LazyLock::new(reachable::all);

#[test]
fn the_choreography_is_what_the_code_does() {
    let objections = objections(&Choreography::parse(TEXT).unwrap());
    assert!(objections.is_empty(), "{}", objections.join("\n"));
}

/// Corrupts a copy and expects to be told so.
fn objects(expected: &str, corrupt: impl FnOnce(&mut Choreography)) {
    let mut copy = Choreography::parse(TEXT).unwrap();
    corrupt(&mut copy);
    let objections = objections(&copy);
    assert!(
        objections.iter().any(|objection| objection.contains(expected)),
        "nobody says {expected:?}: {objections:#?}"
    );
}

fn event<'a>(copy: &'a mut Choreography, name: &str) -> &'a mut Event {
    copy.events.iter_mut().find(|event| event.name == name).unwrap()
}

#[test]
fn an_event_that_nobody_reacts_to_is_an_orphan() {
    objects("StockCommitted is an orphan", |copy| event(copy, "StockCommitted").reactions.clear());
    objects("OrderSettled is an orphan", |copy| event(copy, "OrderSettled").informs = None);
}

#[test]
fn an_event_that_is_not_listed_is_missing() {
    objects("fulfil.payment.voided.v1 is missing", |copy| {
        copy.events.retain(|event| event.name != "PaymentVoided");
    });
    objects("nobody publishes StockShipped", |copy| {
        event(copy, "OrderConfirmed").reactions[0].publishes.retain(|name| name != "StockShipped");
    });
}

#[test]
fn a_reaction_that_the_code_does_not_have_is_an_invention() {
    objects("OrderCompleted: payment-service", |copy| {
        let reaction = Reaction { who: "payment-service".into(), publishes: vec!["PaymentCaptured".into()] };
        event(copy, "OrderCompleted").reactions.push(reaction);
    });
    objects("PaymentAuthorized: order-service publishes", |copy| {
        event(copy, "PaymentAuthorized").reactions[0].publishes.push("OrderCompleted".into());
    });
    objects("StockReserved: by", |copy| event(copy, "StockReserved").by = "order-service".into());
    objects("StockReserved: topic", |copy| event(copy, "StockReserved").topic = "inventory.stock".into());
}

#[test]
fn a_wait_without_an_end_is_refused() {
    objects("order-service waits in created without a deadline", |copy| {
        wait(copy, "created").tasks.clear();
    });
    objects("inventory-service waits in reserved without a deadline", |copy| {
        wait(copy, "reserved").ends_with = None;
    });
    objects("inventory-service in reserved ends with", |copy| {
        wait(copy, "reserved").ends_with.as_mut().unwrap().state = "completed".into();
    });
    objects("payment-service in requested is neither a wait nor a rest", |copy| {
        copy.waits.retain(|wait| wait.state != "requested");
    });
    objects("order-service in confirmed waits for", |copy| {
        wait(copy, "confirmed").awaited.pop();
    });
    objects("order-service rests in created, but owes", |copy| {
        copy.rests[0].states.push("created".into());
    });
}

fn wait<'a>(copy: &'a mut Choreography, state: &str) -> &'a mut Wait {
    copy.waits.iter_mut().find(|wait| wait.state == state).unwrap()
}

#[test]
fn an_effect_without_a_compensation_is_refused() {
    objects("StockCommitted has an effect that nothing compensates", |copy| {
        copy.effects.retain(|effect| effect.event != "StockCommitted");
    });
    objects("PaymentCaptured is compensated by", |copy| {
        copy.effects
            .iter_mut()
            .find(|effect| effect.event == "PaymentCaptured")
            .unwrap()
            .compensated_by
            .clear();
    });
    objects("PaymentDeclined has no effect", |copy| {
        let (event, compensated_by) = ("PaymentDeclined".into(), vec!["PaymentVoided".into()]);
        copy.effects.push(Effect { event, compensated_by });
    });
}

/// All that is wrong with it.
fn objections(choreography: &Choreography) -> Vec<String> {
    let mut objections = Vec::new();
    let names = names(choreography);
    events_of_the_contract(choreography, &mut objections);
    orphans(choreography, &mut objections);
    reactions(choreography, &names, &mut objections);
    answers(choreography, &names, &mut objections);
    waits(choreography, &names, &mut objections);
    effects(choreography, &names, &mut objections);
    objections
}

type Names<'a> = BTreeMap<&'a str, &'a str>;
type Set<'a> = BTreeSet<&'a str>;

/// Names by type.
fn names(choreography: &Choreography) -> Names<'_> {
    let events = choreography.events.iter().map(|event| (event.message_type.as_str(), event.name.as_str()));
    let commands =
        choreography.commands.iter().map(|command| (command.message_type.as_str(), command.name.as_str()));
    events.chain(commands).collect()
}

fn named<'a>(names: &Names<'a>, types: &BTreeSet<&'static str>) -> Set<'a> {
    types.iter().map(|of| names.get(of).copied().unwrap_or("an event that is not listed")).collect()
}

fn set(list: &[String]) -> Set<'_> {
    list.iter().map(String::as_str).collect()
}

fn writers() -> [(&'static str, &'static [Topic]); 3] {
    [
        (order_service::Orders::NAME, order_service::Orders::WRITES),
        (inventory_service::Inventory::NAME, inventory_service::Inventory::WRITES),
        (payment_service::Payments::NAME, payment_service::Payments::WRITES),
    ]
}

fn events_of_the_contract(choreography: &Choreography, objections: &mut Vec<String>) {
    let newest = catalogue::entries().into_iter().filter(|entry| entry.newest);
    for entry in newest.filter(|entry| entry.topic != Topic::DeadLettersCommands) {
        let (of, topic) = (entry.message_type, entry.topic.name());
        if entry.topic.is_commands() {
            match choreography.commands.iter().find(|command| command.message_type == of) {
                Some(command) if command.topic == topic => {}
                Some(command) => objections.push(format!("{}: topic is {topic}", command.name)),
                None => objections.push(format!("{of} is missing")),
            }
            continue;
        }
        let Some(event) = choreography.events.iter().find(|event| event.message_type == of) else {
            objections.push(format!("{of} is missing"));
            continue;
        };
        let writer = writers().into_iter().find(|(_, topics)| topics.contains(&entry.topic));
        if event.topic != topic {
            objections.push(format!("{}: topic is {topic}", event.name));
        }
        if writer.is_none_or(|(writer, _)| writer != event.by) {
            objections.push(format!("{}: by is {writer:?}", event.name));
        }
    }
}

fn orphans(choreography: &Choreography, objections: &mut Vec<String>) {
    for event in &choreography.events {
        if event.reactions.is_empty() && event.asks.is_empty() && event.informs.is_none() {
            objections
                .push(format!("{} is an orphan: nobody reacts to it, and it informs nobody", event.name));
        }
    }
    let reactions = choreography.events.iter().flat_map(|event| &event.reactions);
    let reactions = reactions.chain(choreography.commands.iter().flat_map(|command| &command.reactions));
    let published: Set<'_> = reactions
        .flat_map(|reaction| &reaction.publishes)
        .chain(choreography.answers.iter().flat_map(|answer| &answer.publishes))
        .map(String::as_str)
        .collect();
    for event in &choreography.events {
        if !published.contains(event.name.as_str()) {
            objections.push(format!("nobody publishes {}", event.name));
        }
    }
}

fn reactions(choreography: &Choreography, names: &Names<'_>, objections: &mut Vec<String>) {
    let events = choreography.events.iter().map(|event| (&event.name, &event.message_type, &event.reactions));
    let commands = choreography
        .commands
        .iter()
        .map(|command| (&command.name, &command.message_type, &command.reactions));
    for (name, of, reactions) in events.chain(commands) {
        for (who, facts) in &*FACTS {
            let said = reactions.iter().find(|reaction| reaction.who == *who);
            let Some((of, publishes)) = facts
                .reacts
                .get(of.as_str())
                .map(|of| (of, facts.publishes.get(&What::Message(of)).cloned().unwrap_or_default()))
            else {
                if said.is_some() {
                    objections.push(format!("{name}: {who} does not react to it"));
                }
                continue;
            };
            let publishes = named(names, &publishes);
            match said {
                Some(said) if set(&said.publishes) == publishes => {}
                Some(_) => objections.push(format!("{name}: {who} publishes {publishes:?}")),
                None => objections.push(format!("{name}: {who} reacts to {of} with {publishes:?}")),
            }
        }
    }
}

fn answers(choreography: &Choreography, names: &Names<'_>, objections: &mut Vec<String>) {
    let (_, payments) = &FACTS[2];
    let code = payments.publishes.iter().filter_map(|(what, events)| match what {
        What::Answer(to) => Some((*to, named(names, events))),
        What::Message(_) | What::Task(_) => None,
    });
    let code: BTreeMap<&str, Set<'_>> = code.collect();
    let said = choreography.answers.iter().map(|answer| (answer.to.as_str(), set(&answer.publishes)));
    let said: BTreeMap<&str, Set<'_>> = said.collect();
    if code != said {
        objections.push(format!("answers of the provider publish {code:#?}, not {said:#?}"));
    }
}

fn waits(choreography: &Choreography, names: &Names<'_>, objections: &mut Vec<String>) {
    for (who, facts) in &*FACTS {
        for state in &facts.states {
            let owes: Set<'_> = facts.owes[state].iter().copied().collect();
            let rests = choreography.rests.iter().filter(|rest| rest.who == *who);
            let rests = rests.flat_map(|rest| &rest.states).any(|rest| rest == state);
            let wait = choreography.waits.iter().find(|wait| wait.who == *who && wait.state == *state);
            if rests && !owes.is_empty() {
                objections.push(format!("{who} rests in {state}, but owes {owes:?}"));
            }
            let Some(wait) = wait else {
                if !rests {
                    objections.push(format!("{who} in {state} is neither a wait nor a rest"));
                }
                continue;
            };
            if set(&wait.tasks) != owes {
                objections.push(format!("{who} in {state} owes {owes:?}"));
            }
            check_end(choreography, wait, objections);
            check_awaited(facts, names, wait, objections);
        }
    }
}

fn check_end(choreography: &Choreography, wait: &Wait, objections: &mut Vec<String>) {
    let (who, state) = (&wait.who, &wait.state);
    match (&wait.ends_with, wait.tasks.is_empty()) {
        (None, true) => objections.push(format!("{who} waits in {state} without a deadline")),
        (Some(other), _) => {
            let other_wait =
                choreography.waits.iter().find(|wait| wait.who == other.who && wait.state == other.state);
            if other_wait.is_none_or(|wait| wait.tasks.is_empty()) {
                objections
                    .push(format!("{who} in {state} ends with {other:?}, which has no deadline of its own"));
            }
        }
        (None, false) => {}
    }
}

fn check_awaited(facts: &Facts, names: &Names<'_>, wait: &Wait, objections: &mut Vec<String>) {
    let here = facts.moves.iter().filter(|(state, _)| *state == wait.state);
    let awaited = here.clone().filter_map(|(_, what)| match what {
        What::Message(of) if !of_a_command(of) => Some(*of),
        What::Message(_) | What::Task(_) | What::Answer(_) => None,
    });
    let awaited = named(names, &awaited.collect());
    if awaited != set(&wait.awaited) {
        objections.push(format!("{} in {} waits for {awaited:?}", wait.who, wait.state));
    }
    let by_tasks = here.filter(|(_, what)| matches!(what, What::Task(_)));
    let by_tasks = by_tasks.flat_map(|(_, what)| facts.publishes[what].iter().copied());
    let by_tasks = named(names, &by_tasks.collect());
    if by_tasks != set(&wait.publishes) {
        objections.push(format!("{} in {}: its tasks publish {by_tasks:?}", wait.who, wait.state));
    }
}

fn of_a_command(message_type: &str) -> bool {
    catalogue::entries().iter().any(|entry| entry.message_type == message_type && entry.topic.is_commands())
}

fn effects(choreography: &Choreography, names: &Names<'_>, objections: &mut Vec<String>) {
    // Of the events about an order; those of a sku follow them.
    let about_orders = |of: &&'static str| {
        choreography
            .events
            .iter()
            .any(|event| event.message_type == **of && event.topic != Topic::InventoryStock.name())
    };
    let mut said: BTreeMap<&str, &Effect> =
        choreography.effects.iter().map(|effect| (effect.event.as_str(), effect)).collect();
    for (_, facts) in &*FACTS {
        for (event, ends) in facts.compensations.iter().filter(|(event, _)| about_orders(event)) {
            let (name, ends) =
                (names[event], named(names, &ends.iter().copied().filter(|of| about_orders(of)).collect()));
            match said.remove(name) {
                None => {
                    objections.push(format!("{name} has an effect that nothing compensates but {ends:?}"))
                }
                Some(effect) if set(&effect.compensated_by) == ends => {}
                Some(_) => objections.push(format!("{name} is compensated by {ends:?}")),
            }
        }
    }
    objections
        .extend(said.keys().map(|event| format!("{event} has no effect that the code would compensate")));
}

/// What a service asks of the payment provider after an event is what it then owes.
#[test]
fn an_event_that_asks_the_provider_is_one_after_which_the_answer_is_owed() {
    let choreography = Choreography::parse(TEXT).unwrap();
    for event in &choreography.events {
        let kinds: Vec<&str> = event.asks.iter().map(String::as_str).collect();
        let state = match event.name.as_str() {
            "PaymentRequested" => "requested",
            "PaymentCaptureRequested" => "capture_requested",
            "PaymentReversalRequested" => "reversing",
            _ => {
                assert!(kinds.is_empty(), "{}", event.name);
                continue;
            }
        };
        let (_, payments) = &FACTS[2];
        assert_eq!(kinds.into_iter().collect::<BTreeSet<_>>(), payments.owes[state], "{}", event.name);
    }
}
