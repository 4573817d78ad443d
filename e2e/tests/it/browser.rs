//! The screens in a browser: what only their script does, while orders come in. Without Chromium nothing is checked, and said so.
//! `FULFIL_SHOTS=FOLDER` keeps pictures of all screens.

use std::{
    env, fs,
    path::PathBuf,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use e2e::{
    browser::{Browser, Page, chromium},
    system::{Order, System, structured, until},
};
use serde_json::json;
use shared::contract::topics::Topic;
use uuid::Uuid;

use crate::readme::typed;

const VIEW_LIMIT: Duration = Duration::from_secs(60);

struct Visit<'a> {
    system: &'a System,
    page: Page,
    home: String,
}

#[tokio::test]
async fn each_screen_does_in_a_browser_what_it_is_for_while_orders_come_in() {
    let Some(chromium) = chromium() else {
        eprintln!("NOT CHECKED: there is no chromium on this machine");
        return;
    };
    let system = System::alone().await;
    let browser = Browser::start(&chromium).await.unwrap();
    let page = browser.page().await.unwrap();
    let home = system.service("projector").http.clone();
    let mut visit = Visit { system: &system, page, home };
    let (is_over, load) = (AtomicBool::new(false), "fulfil load run --rate 10/s --duration 20s --skus 5");
    let loading = async {
        while !is_over.load(Ordering::Relaxed) {
            let load = typed(&system, load).await;
            assert!(load.status.success(), "{load:?}");
        }
    };
    let visiting = async {
        visit.the_reason_is_one_click_from_the_overview().await;
        visit.keys_lead_everywhere().await;
        visit.orders_are_found_and_do_not_move_while_they_are_read().await;
        visit.an_order_is_seen_as_it_stood_and_cancelled().await;
        visit.letters_are_redriven_together_after_a_look().await;
        visit.a_letter_is_mended_once_what_is_written_can_be_read().await;
        visit.a_letter_is_tried_again_until_it_is_parked_and_given_up().await;
        visit.live_events_follow_and_wait().await;
        visit.a_message_is_sent_from_its_form().await;
        visit.stock_sales_and_consumers_show_what_there_is().await;
        visit.a_second_view_is_made_and_compared().await;
        visit.everybody_can_use_it().await;
        assert_eq!(visit.page.complaints, Vec::<String>::new());
        is_over.store(true, Ordering::Relaxed);
    };
    tokio::join!(loading, visiting);
}

impl Visit<'_> {
    async fn open(&mut self, address: &str) {
        self.page.open(&format!("{}{address}", self.home)).await.unwrap();
    }

    async fn until(&mut self, expression: &str) {
        self.page.until(expression).await.unwrap();
    }

    async fn says(&mut self, selector: &str, pattern: &str) {
        self.until(&format!("/{pattern}/.test(document.querySelector({})?.innerText)", json!(selector)))
            .await;
    }

    async fn click(&mut self, selector: &str) {
        self.page.click(selector).await.unwrap();
    }

    async fn fill(&mut self, selector: &str, value: &str) {
        self.page.fill(selector, value).await.unwrap();
    }

    async fn number(&mut self, expression: &str) -> i64 {
        self.page.eval(expression).await.unwrap().as_i64().unwrap_or_else(|| panic!("{expression}"))
    }

    /// Until the view has it.
    async fn has(&self, id: Uuid) {
        let order = format!("/orders/{id}");
        let known = async || self.system.get("projector", &order).await.status.is_success().then_some(());
        until("the view to have the order", VIEW_LIMIT, known).await;
    }

    /// Five orders of which each went wrong in another way: from the Overview one click, and in the shell one command.
    async fn the_reason_is_one_click_from_the_overview(&mut self) {
        let system = self.system;
        let sku = system.stocked(100).await;
        let [declined, uncaptured, short, late] = [(1, 1_013), (1, 1_016), (1_000, 1_000), (1, 1_014)]
            .map(|(pieces, cents)| Order::new(&sku, pieces, cents));
        for order in [&declined, &uncaptured, &short, &late] {
            system.publish(vec![order.create()]).await;
        }
        self.has(late.id).await;
        let cancel = format!("/orders/{}/cancel", late.id);
        let cancelled = system.post("order-service", &cancel, &json!({"by": "customer"})).await;
        assert!(cancelled.status.is_success(), "{cancelled:?}");
        for order in [&declined, &uncaptured, &short, &late] {
            system.shown(order.id, system.end(order.id).await).await;
        }
        let bad = typed(system, "fulfil event send order.create --bad -n 3").await;
        assert!(bad.status.success(), "{bad:?}");
        let letters = async || {
            let open = system.get("projector", "/dead-letters?status=open&limit=1").await.body;
            open["dead_letters"].as_array().is_some_and(|letters| !letters.is_empty()).then_some(())
        };
        until("a dead letter in the view", VIEW_LIMIT, letters).await;
        let reasons = [
            ("payment declined", "payment declined", declined.id),
            ("capture failed", "capture failed", uncaptured.id),
            ("out of stock", "1000 × .* wanted", short.id),
            ("customer", "cancelled by the customer", late.id),
        ];
        for (lost, why, id) in reasons {
            self.open("/").await;
            let link = format!(
                "[...document.querySelectorAll('.lost a')].find((a) => a.innerText.includes({}))",
                json!(lost)
            );
            self.until(&link).await;
            self.page.eval(&format!("{link}.click()")).await.unwrap();
            self.says(".why", why).await;
            let told = typed(system, &format!("fulfil order timeline {id}")).await;
            let told = String::from_utf8_lossy(&told.stdout).to_lowercase().replace(['_', '-', '.'], " ");
            assert!(told.contains(&lost.replace("out of stock", "rejected")), "{lost}: {told}");
        }
        self.open("/").await;
        self.click(".alarms a[href*=fingerprint]").await;
        self.until(
            "location.pathname === '/dead-letters' && document.querySelector('tr.failure .dim')?.innerText",
        )
        .await;
    }

    async fn keys_lead_everywhere(&mut self) {
        self.open("/").await;
        let screens = [
            ("o", "/orders"),
            ("d", "/dead-letters"),
            ("s", "/stock"),
            ("a", "/sales"),
            ("c", "/consumers"),
            ("p", "/projections"),
            ("l", "/events"),
            ("e", "/send"),
            ("h", "/"),
        ];
        for (key, path) in screens {
            for key in ["g", key] {
                self.page.press(key).await.unwrap();
            }
            self.until(&format!(
                "location.pathname === {} && document.readyState === 'complete'",
                json!(path)
            ))
            .await;
        }
        self.open("/orders").await;
        self.page.press("j").await.unwrap();
        self.until("document.activeElement === document.querySelector('[data-row]')").await;
        self.page.press("/").await.unwrap();
        self.until("document.activeElement.type === 'search'").await;
        // Switched off they do nothing, on the next screen too.
        let switched = "document.querySelector('#keys input')";
        self.open("/").await;
        self.click("#keys summary").await;
        self.click("#keys input").await;
        self.until(&format!("!{switched}.checked")).await;
        self.open("/orders").await;
        self.page.press("j").await.unwrap();
        self.page.press("/").await.unwrap();
        assert_eq!(self.page.eval("document.activeElement.tagName").await.unwrap(), json!("BODY"));
        self.click("#keys summary").await;
        self.click("#keys input").await;
        self.page.eval("document.activeElement.blur()").await.unwrap();
        self.page.press("j").await.unwrap();
        self.until("document.activeElement === document.querySelector('[data-row]')").await;
    }

    async fn orders_are_found_and_do_not_move_while_they_are_read(&mut self) {
        self.open("/orders").await;
        self.page.eval("document.querySelector('[name=status]').value = 'completed'").await.unwrap();
        self.click(".filter button").await;
        self.until("location.search.includes('status=completed')").await;
        self.until(
            "document.querySelectorAll('#orders tr').length
             && [...document.querySelectorAll('#orders tr')].every((row) => row.cells[1].innerText.includes('completed'))",
        )
        .await;
        self.open("/orders").await;
        self.page.press("j").await.unwrap();
        self.page.eval("window.read = document.querySelector('#orders tr').id").await.unwrap();
        self.until("!document.getElementById('fresh').hidden").await;
        self.until("document.querySelector('#orders tr').id === window.read && document.activeElement.closest('tr').id === window.read")
            .await;
        self.click("#fresh button").await;
        self.until("document.querySelector('#orders tr').id !== window.read").await;
        // What leaves the list while it is read says so.
        self.open("/orders?status=created").await;
        let order = Order::new(&self.system.stocked(10).await, 1, 1_014);
        self.system.publish(vec![order.create()]).await;
        let row = format!("#order-{}", order.id);
        self.until(&format!("document.querySelector({})", json!(row))).await;
        self.page
            .eval(&format!("document.querySelector({}).focus()", json!(format!("{row} a"))))
            .await
            .unwrap();
        self.system.end(order.id).await;
        self.says(&row, "⚠ has changed").await;
    }

    async fn an_order_is_seen_as_it_stood_and_cancelled(&mut self) {
        // The provider is silent at first, so there is time; on a busy machine it may be too late all the same.
        let mut order = Uuid::nil();
        for _ in 0..5 {
            order = self.cancelled_by_hand().await;
            if self.system.end(order).await == "settled" {
                break;
            }
        }
        // The screen goes on by itself.
        self.says(".status", "settled").await;
        self.says(".why", "he called").await;
        assert_eq!(self.page.eval("location.pathname").await.unwrap(), json!(format!("/orders/{order}")));
        self.click("tbody a[href$='?event=2#stood']").await;
        self.says("#stood", "As it stood after event 2").await;
        self.click("#stood [rel=next]").await;
        self.says("#stood", "As it stood after event 3").await;
    }

    async fn cancelled_by_hand(&mut self) -> Uuid {
        let order = Order::new(&self.system.stocked(10).await, 1, 1_014);
        self.system.publish(vec![order.create()]).await;
        self.has(order.id).await;
        self.open(&format!("/orders/{}", order.id)).await;
        self.until("document.querySelectorAll('.way .lit').length").await;
        self.click(".cancel summary").await;
        self.fill(".cancel [name=reason]", "he called").await;
        self.click(".cancel button").await;
        order.id
    }

    async fn letters_are_redriven_together_after_a_look(&mut self) {
        self.open("/dead-letters?status=open").await;
        self.click("tbody a[href$='#all']").await;
        self.until("location.search.includes('fingerprint') && document.querySelector('#all form')").await;
        self.page.eval("window.confirm = () => true").await.unwrap();
        self.fill("#all [name=by]", "me").await;
        self.fill("#all [name=reason]", "to see").await;
        self.click("#all [formaction]").await;
        self.says("#all output", "\\d+ messages? of.*would fail again").await;
        // What was looked at and left alone does not hold the screen for ever.
        self.page.eval("document.activeElement.blur()").await.unwrap();
        self.page.eval("{ const now = Date.now; Date.now = () => now() + 200_000; }").await.unwrap();
        self.until("document.querySelector('#all output').innerText === ''").await;
        self.fill("#all [name=by]", "me").await;
        self.fill("#all [name=reason]", "to see").await;
        self.click("#all button[data-grave][value=redrive]").await;
        self.says("#all output", "asked for").await;
        self.says(".stood", "failed again [1-9].*done").await;
    }

    /// A letter of an order whose quantity is a text, once the view has it.
    async fn letter(&self, order: &Order) -> (Uuid, String) {
        let (system, mut data) = (self.system, order.data());
        data["lines"][0]["quantity"] = json!("1");
        let spoiled = structured("fulfil.order.create.v2", &data);
        let place = system.say(Topic::OrdersCommands, order.id, &spoiled).await;
        let id = system.letter_id("order-service", Topic::OrdersCommands, place.partition, place.offset);
        let letter = format!("/dead-letters/{id}");
        let known = async || system.get("projector", &letter).await.status.is_success().then_some(());
        until("the view to have the letter", VIEW_LIMIT, known).await;
        (id, letter)
    }

    async fn letter_is(&self, letter: &str, status: &str, redrives: i64) {
        let is = async || {
            let letter = self.system.get("projector", letter).await.body;
            (letter["status"] == status && letter["redrives"] == redrives).then_some(())
        };
        until(&format!("the view to have {letter} {status}"), VIEW_LIMIT, is).await;
    }

    /// What a refusal leaves in the browser's log is meant.
    async fn is_refused(&mut self, pattern: &str) {
        self.says("#wrong", pattern).await;
        self.says("[data-post$='/redrive'] output", "could not read it").await;
        self.until("document.querySelector('#main textarea').getAttribute('aria-invalid') === 'true'").await;
        let complaints = std::mem::take(&mut self.page.complaints);
        assert!(complaints.iter().all(|complaint| complaint.contains("status of 422")), "{complaints:?}");
    }

    async fn a_letter_is_mended_once_what_is_written_can_be_read(&mut self) {
        let order = Order::new(&self.system.stocked(10).await, 1, 100);
        let (id, letter) = self.letter(&order).await;
        self.open(&letter).await;
        self.until("document.querySelector('pre mark').innerText === '\"1\"'").await;
        let redrive = "[data-post$='/redrive']";
        self.click(&format!("{redrive} summary")).await;
        self.fill(&format!("{redrive} [name=by]"), "me").await;
        self.fill(&format!("{redrive} [name=reason]"), "a typing error").await;
        let was = self.page.eval("document.querySelector('#main textarea').value").await.unwrap();
        let was = was.as_str().unwrap().to_owned();
        for (written, refused) in [
            ("not json at all", "line 1, column"),
            (&*was.replace("\"quantity\":\"1\"", "\"quantity\":0"), "^⚠ /data/lines/0/quantity "),
        ] {
            self.fill("#main textarea", written).await;
            self.click(&format!("{redrive} button")).await;
            self.is_refused(&refused.replace('/', "\\/")).await;
        }
        self.letter_is(&letter, "dead", 0).await;
        self.fill("#main textarea", &was.replace("\"quantity\":\"1\"", "\"quantity\":1")).await;
        self.click(&format!("{redrive} button")).await;
        let changed = r#"a typing error \(edited: \/data\/lines\/0\/quantity "1" -> 1\)"#;
        self.says(&format!("{redrive} output"), &format!("asked for: {changed}")).await;
        self.system.letter_is(id, "redriven").await;
        self.letter_is(&letter, "redriven", 1).await;
        self.open(&letter).await;
        self.says(".awaited", &format!("redriven by me, .*: {changed}")).await;
        self.until("!document.querySelector('#main form')").await;
        assert_eq!(self.system.end(order.id).await, "completed");
    }

    async fn a_letter_is_tried_again_until_it_is_parked_and_given_up(&mut self) {
        let order = Order::new(&self.system.stocked(10).await, 1, 100);
        let (id, letter) = self.letter(&order).await;
        for (status, redrives) in [("failed-again", 1), ("failed-again", 2), ("parked", 3)] {
            self.open(&letter).await;
            self.fill("[data-post$='/redrive'] [name=by]", "me").await;
            self.fill("[data-post$='/redrive'] [name=reason]", "to see").await;
            self.click("[data-post$='/redrive'] button").await;
            self.says("[data-post$='/redrive'] output", "asked for: to see").await;
            self.letter_is(&letter, status, redrives).await;
        }
        self.open("/dead-letters?status=open").await;
        self.says(&format!("#letter-{id}"), "parked").await;
        self.click(&format!("#letter-{id} a")).await;
        self.until(&format!("location.pathname === {}", json!(letter))).await;
        self.says("main", "It failed again 3 times").await;
        self.page.eval("window.confirm = () => true").await.unwrap();
        self.fill("[data-post$='/discard'] [name=by]", "me").await;
        self.fill("[data-post$='/discard'] [name=reason]", "never was an order").await;
        self.click("[data-post$='/discard'] button").await;
        self.says("[data-post$='/discard'] output", "asked for").await;
        self.letter_is(&letter, "discarded", 3).await;
        self.open(&letter).await;
        self.says(".awaited", "discarded by me, .*: never was an order").await;
        self.until("!document.querySelector('#main form')").await;
    }

    async fn live_events_follow_and_wait(&mut self) {
        self.open("/events").await;
        self.says("#listening", "follows").await;
        self.until("document.querySelector('#events tr')").await;
        self.click("#pause").await;
        let rows = self.number("document.querySelectorAll('#events tr').length").await;
        self.says("#listening", "paused, [1-9]\\d* more").await;
        assert_eq!(self.number("document.querySelectorAll('#events tr').length").await, rows);
        self.page.eval("window.top_row = document.querySelector('#events tr')").await.unwrap();
        // On the screen each time, and spoken now and then.
        self.page
            .eval(
                "{ window.spoken = 0; window.shown = 0;
                     const count = (id, name) => new MutationObserver(() => { window[name] += 1; })
                       .observe(document.getElementById(id), { childList: true });
                     count('spoken', 'spoken'); count('listening', 'shown'); }",
            )
            .await
            .unwrap();
        self.until("window.shown > 10").await;
        assert!(self.number("window.spoken").await * 3 < self.number("window.shown").await);
        self.until("/paused/.test(document.querySelector('[role=status]#spoken').textContent)").await;
        self.click("#pause").await;
        self.until("document.querySelector('#events tr') !== window.top_row").await;
    }

    async fn a_message_is_sent_from_its_form(&mut self) {
        self.open("/send").await;
        self.fill("#send [name='/user_id']", "").await;
        self.click("#send > p:last-child button").await;
        self.until("[...document.querySelectorAll('#send [role=alert]')].some((said) => said.innerText)")
            .await;
        self.fill("#send [name='/user_id']", "u1").await;
        self.fill("#send [name='/order_id']", &Uuid::now_v7().to_string()).await;
        self.click("#send > p:last-child button").await;
        self.until("document.querySelector('#send output a[href^=\"/orders/\"]')").await;
        // A number that a double does not have goes out as it was typed.
        self.page
            .eval(
                "window.fetch = async (to, what) => { window.sent = what.body; return new Response('{}'); }",
            )
            .await
            .unwrap();
        self.fill("#send [name='/amount/minor']", "9007199254740993").await;
        self.click("#send > p:last-child button").await;
        self.until("window.sent").await;
        let sent = self.page.eval("window.sent").await.unwrap();
        assert!(sent.as_str().is_some_and(|sent| sent.contains(":9007199254740993,")), "{sent}");
    }

    async fn stock_sales_and_consumers_show_what_there_is(&mut self) {
        self.open("/stock").await;
        self.until("document.querySelector('tr[id^=sku-]')").await;
        self.open("/sales").await;
        self.says("main", "EUR").await;
        // Of one hour there is no line to be drawn.
        self.open("/").await;
        self.until("document.querySelector('.uplot canvas')").await;
        self.until(
            "[...document.querySelectorAll('.u-marker')].some((mark) => mark.style.borderStyle === 'dashed')",
        )
        .await;
        self.open("/consumers").await;
        for group in ["order-service", "inventory-service", "payment-service", "projector"] {
            self.says("main", group).await;
        }
    }

    async fn a_second_view_is_made_and_compared(&mut self) {
        self.open("/projections").await;
        self.click("[data-post$='/rebuild'] button").await;
        self.says("main", "keeps up|following").await;
        self.click("[data-post$='/verify'] button").await;
        self.says("[data-post$='/verify'] output", "the two views say the same").await;
        for (verb, served) in [("switch", "build "), ("rollback", "its first message on")] {
            self.click(&format!("[data-post$='/{verb}'] button")).await;
            self.says(&format!("[data-post$='/{verb}'] output"), "asked for").await;
            let changed = async || {
                let served_now = self.system.get("projector", "/projections").await.body;
                (served_now["served"]["build"].is_string() == (verb == "switch")).then_some(())
            };
            until("the other view to serve", VIEW_LIMIT, changed).await;
            self.open("/projections").await;
            self.says("main", served).await;
        }
        self.click("[data-post$='/drop'] button").await;
        self.says("[data-post$='/drop'] output", "asked for").await;
    }

    /// axe-core finds nothing serious on any screen, light or dark, wide or narrow.
    async fn everybody_can_use_it(&mut self) {
        let servers = env::var_os("FULFIL_SERVERS").map_or_else(
            || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../.servers")),
            PathBuf::from,
        );
        let axe = fs::read_to_string(servers.join("axe.min.js")).ok();
        if axe.is_none() {
            eprintln!("NOT CHECKED: there is no axe-core on this machine (deploy/setup browser)");
        }
        let order = self.page_of("/orders", "#orders a").await;
        let letter = self.page_of("/dead-letters?status=open", "tr[id^=letter] a").await;
        let screens = [
            ("overview", "/"),
            ("orders", "/orders"),
            ("order", &order),
            ("dead-letters", "/dead-letters"),
            ("dead-letter", &letter),
            ("stock", "/stock"),
            ("sales", "/sales"),
            ("consumers", "/consumers"),
            ("projections", "/projections"),
            ("live", "/events"),
            ("send", "/send"),
        ];
        let mut wrong = Vec::new();
        for (scheme, width) in [("light", 1_300), ("dark", 1_300), ("dark", 400)] {
            self.page.scheme(scheme).await.unwrap();
            self.page.size(width, 900).await.unwrap();
            for (name, address) in screens {
                self.open(address).await;
                if let Some(folder) = env::var_os("FULFIL_SHOTS") {
                    let path = PathBuf::from(folder).join(format!("{name}-{scheme}-{width}.png"));
                    self.page.screenshot(&path).await.unwrap();
                }
                if self.number("document.documentElement.scrollWidth - innerWidth").await > 0 {
                    wrong.push(format!("{name} is wider than {width}"));
                }
                let Some(axe) = &axe else { continue };
                self.page.eval(&format!("{axe}; true")).await.unwrap();
                let found = self
                    .page
                    .eval(
                        "axe.run({ runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa'] }).then((found) => found.violations
                           .filter((violation) => ['serious', 'critical'].includes(violation.impact))
                           .map((violation) => `${violation.id}: ${violation.nodes.slice(0, 3).map((node) => node.html + node.failureSummary).join(' | ')}`))",
                    )
                    .await
                    .unwrap();
                if found != json!([]) {
                    wrong.push(format!("{name}, {scheme}, {width}: {found}"));
                }
            }
        }
        assert!(wrong.is_empty(), "{wrong:#?}");
    }

    /// Where the first link of a screen leads.
    async fn page_of(&mut self, address: &str, link: &str) -> String {
        self.open(address).await;
        self.until(&format!("document.querySelector({})", json!(link))).await;
        let href = format!("document.querySelector({}).getAttribute('href')", json!(link));
        self.page.eval(&href).await.unwrap().as_str().unwrap().to_owned()
    }
}
