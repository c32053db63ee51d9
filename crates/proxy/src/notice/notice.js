// Tells the user of a page what Ebbtide tells of their session: a banner that counts down, a pop-up
// at the first notice and at each reminder, and one when the session has ended. They are never told of
// more time than there is.
//
// A page shows its own instead by calling preventDefault() on the event `ebbtide:notice` of window,
// whose detail is the JSON of `session` and `why`: notice, reminder, changed, cancelled, ended, or
// reopened when a service that had closed is open again. What an operator says to this user alone is the
// event `ebbtide:message`, whose detail is the `message` of that JSON; what a page does not show itself
// is a pop-up, which is not shown again once it is dismissed.
(() => {
	const GUARD = Symbol.for('ebbtide.notice');
	const POLL_MS = 15000;
	const WATCH_MS = 5000; // How often it is asked whether the service is open again.
	const SILENCE_MS = 10000; // A stream that says nothing for so long is held back by something.
	const SLACK_MS = 2000; // Deadlines that differ by less are the same one.
	// Ends that a user should hear of; others come of their own doing or of a server's failure.
	const TOLD_ENDS = ['deadline', 'ended-by-operator', 'forgotten', 'idle'];
	const base = document.currentScript
		? document.currentScript.src.replace(/[^/]*$/, '')
		: '/.ebbtide/';

	// The page's own rules reach the host element: ours are important there. They do not reach what is
	// in it; lengths are in px and colours are set within, as neither may come from the page.
	const STYLE = `
:host{all:initial!important;display:block!important;position:fixed!important;z-index:2147483647!important;direction:ltr!important;color-scheme:light dark!important}
.banner,dialog{--e-back:#fff3cd;--e-ink:#3d2f00;--e-edge:#8a6a00;--e-card:#fff;--e-text:#1b1b1b;--e-button:#0b57d0;--e-on:#fff}
@media (prefers-color-scheme:dark){.banner,dialog{--e-back:#3a2f0b;--e-ink:#ffe9a8;--e-edge:#d6ad32;--e-card:#24262a;--e-text:#f1f1f1;--e-button:#a8c7fa;--e-on:#062e6f}}
*{box-sizing:border-box;font:400 15px/1.45 system-ui,sans-serif}
.banner{position:fixed;inset:0 0 auto;display:flex;flex-wrap:wrap;align-items:center;justify-content:center;gap:4px 12px;padding:6px 12px;background:var(--e-back);color:var(--e-ink);border-bottom:2px solid var(--e-edge)}
.banner.last{--e-back:#a3160f;--e-ink:#fff;--e-edge:#fff}
.banner.small{inset:auto 8px 8px auto;border:2px solid var(--e-edge);border-radius:99px;padding:2px 6px 2px 14px}
.small .end,.small .details{display:none}
@media (max-width:500px){.end{display:none}}
.left{font-weight:700;font-variant-numeric:tabular-nums}
button{padding:5px 14px;border:1px solid currentColor;border-radius:6px;background:transparent;color:inherit;cursor:pointer}
button:focus-visible{outline:3px solid currentColor;outline-offset:2px}
.small button{border-radius:99px;outline-offset:-4px!important}
dialog{width:min(480px,calc(100vw - 32px));max-height:calc(100vh - 32px);overflow:auto;padding:20px 24px;border:2px solid var(--e-edge);border-radius:12px;background:var(--e-card);color:var(--e-text)}
dialog:focus{outline:none}
dialog::backdrop{background:rgb(0 0 0 / 50%)}
h2{margin:0 0 8px;font-size:20px;font-weight:700}
p{margin:0 0 10px}
.message,.said{max-height:30vh;overflow:auto;padding:8px 12px;border-left:4px solid var(--e-edge);background:var(--e-back);color:var(--e-ink);white-space:pre-line;overflow-wrap:anywhere}
p:empty,.end:empty{display:none}
dialog button{background:var(--e-button);color:var(--e-on);border-color:var(--e-button)}
dialog button:focus-visible{outline-color:var(--e-text)}
.live{position:fixed;width:1px;height:1px;overflow:hidden;clip-path:inset(50%)}
[hidden]{display:none}
@keyframes come{from{opacity:0;translate:0 -12px}}
@media (prefers-reduced-motion:no-preference){.banner,dialog{animation:come .2s ease-out}}
@media (forced-colors:active){.banner.last{border-width:6px}}
@media print{:host{display:none!important}}`;

	if (!isOurs()) return;
	const { locale, texts, span, headline, ends, when, back, what, more } = noticeWords(navigator.languages);

	let state = null; // What was told last, with `deadline` on the clock of performance.now().
	let ended = false;
	let message = ''; // What the operator said, when it has ended.
	let said = null; // What an operator says to this user,
	let unread = false; // and whether our pop-up with it waits to be dismissed.
	let shown = null; // The end and the stage of the last pop-up.
	let own = true; // Whether it is for us to show it.
	let small = false; // The banner is out of the way.
	let stream = null;
	const timers = { poll: 0, silence: 0, tick: 0, off: 0 };
	let ui = null;
	let announced = null;
	let skew = Date.now() - performance.now();

	const guarded = (action) => (...values) => {
		try {
			return action(...values);
		} catch {
			return undefined; // The page must not suffer from us.
		}
	};
	const after = (name, ms, action) => {
		clearTimeout(timers[name]);
		timers[name] = setTimeout(guarded(action), ms);
	};

	const later = (ms, action) => after('poll', ms * (0.8 + Math.random() * 0.4), action);
	function stop() {
		clearInterval(timers.tick);
		timers.tick = 0;
	}

	// How it is found out

	function connect() {
		disconnect();
		if (ended) return isClosed() && watch();
		// Connections to one host are few: windows that nobody sees leave them to others.
		if (document.hidden || !window.EventSource) return poll();
		const mine = new EventSource(base + 'events');
		stream = mine;
		const hear = guarded((event) => {
			if (stream !== mine) return;
			clearTimeout(timers.silence);
			take(JSON.parse(event.data));
		});
		mine.addEventListener('state', hear);
		mine.addEventListener('ended', hear);
		mine.onerror = guarded(() => {
			if (stream === mine && mine.readyState === EventSource.CLOSED) poll();
		});
		after('silence', SILENCE_MS, poll);
	}

	function disconnect() {
		if (stream) stream.close();
		stream = null;
		clearTimeout(timers.poll);
		clearTimeout(timers.silence);
	}

	function poll() {
		disconnect();
		if (ended) return;
		const next = () => {
			if (!stream) later(POLL_MS, poll);
		};
		ask().then(next, next);
	}

	async function get(name) {
		const answer = await fetch(base + name, { cache: 'no-store', credentials: 'same-origin' });
		if (!answer.ok) throw new Error(answer.status);
		return answer.json();
	}

	async function ask() {
		const asked = performance.now(); // The time on the way does not count as time that is left.
		take(await get('session'), asked);
	}

	// What is made of it

	const take = guarded((news, since = performance.now()) => {
		if (ended) return;
		listen(news.message);
		const before = state;
		const notice = news.notice;
		state = news;
		if (notice) notice.deadline = since + notice.milliseconds_left;
		const old = before && before.notice;
		if (news.state === 'none' && old && left(old) === 0) Object.assign(news, { state: 'ended', reason: 'deadline' });
		if (news.state === 'ended') {
			const lived = before && before.state !== 'none' && before.state !== 'ended';
			if (lived && TOLD_ENDS.includes(news.reason)) return end(old);
			// It ended unseen, or of the user's own doing: another may begin.
			clear();
			disconnect();
			after('poll', POLL_MS, connect);
			return;
		}
		if (notice) {
			clearTimeout(timers.off);
			if (!old || !isSame(old, notice)) {
				const known = remembers(notice, stage(notice));
				small = known && Boolean(shown.small);
				own = tell(old ? 'changed' : 'notice');
				if (own && !known) popUp(old ? texts.changed : texts.title);
				remember(notice);
			}
			tick();
		} else if (old) {
			own = tell('cancelled');
			if (own) off();
			else clear();
		}
	});

	// A message to this user alone: it stands until it is dismissed, be it in another window.
	const listen = guarded((news) => {
		if ((news && news.id) === (said && said.id)) return;
		said = news;
		unread = Boolean(said) && !isRead() &&
			window.dispatchEvent(new CustomEvent('ebbtide:message', { detail: { ...said }, cancelable: true }));
		if (!unread) return ui && ui.note.close();
		build();
		put(ui.said, said.text);
		showSaid();
	});

	// One pop-up at a time: a browser may close all that are open by one press of Escape, unread.
	function showSaid() {
		if (!unread || ui.dialog.open) return;
		build();
		if (!ui.note.open) ui.note.showModal();
		ui.note.focus(); // Not the button, as below.
	}

	function isRead() {
		try {
			return sessionStorage.getItem('ebbtide:message') === String(said.id);
		} catch {
			return false;
		}
	}

	function dismiss() {
		if (ui.note.open || ui.dialog.open || !unread) return;
		unread = false;
		fetch(base + 'dismiss?message=' + said.id, { method: 'POST', credentials: 'same-origin', keepalive: true }).catch(() => {});
		sessionStorage.setItem('ebbtide:message', said.id);
	}

	function end(notice) {
		ended = true;
		disconnect();
		stop();
		message = notice && notice.message;
		small = false;
		own = tell('ended');
		if (own) farewell(texts.ended, true);
		else clear();
		watch();
	}

	// Waits until one can go on.
	function watch() {
		const next = () => later(WATCH_MS, watch);
		const see = guarded((gate) => {
			const before = isClosed();
			Object.assign(state, { pool_state: gate.open ? 'open' : gate.state, expected_end: gate.expected_end });
			message = gate.message || message;
			const opens = before && !isClosed();
			if (opens) own = tell('reopened');
			if (own) farewell(opens ? texts.open : texts.ended, opens);
			if (isClosed()) next();
		});
		get('gate').then(see, next);
	}

	const isClosed = () => state.pool_state !== 'open';

	// True if the page leaves it to us.
	function tell(why) {
		const detail = JSON.parse(JSON.stringify({ ...state, why }));
		if (detail.notice) delete detail.notice.deadline;
		return window.dispatchEvent(new CustomEvent('ebbtide:notice', { detail, cancelable: true }));
	}

	const isSame = (one, other) => one.kind === other.kind && one.message === other.message &&
		Math.abs(Date.parse(one.ends) - Date.parse(other.ends)) < SLACK_MS;
	const left = (notice) => Math.max(0, notice.deadline - performance.now());
	// The reminder that came last, in seconds; Infinity before the first.
	const stage = (notice) =>
		Math.min(Infinity, ...notice.reminders.filter((lead) => left(notice) <= lead * 1000));

	// What was seen is not shown again on the next page.
	const place = 'ebbtide:notice';
	function remember(notice) {
		shown = { kind: notice.kind, ends: notice.ends, stage: stage(notice), message: notice.message, small };
		try {
			sessionStorage.setItem(place, JSON.stringify(shown));
		} catch {
			// Then it is shown again.
		}
	}
	function remembers(notice, now) {
		try {
			shown ||= JSON.parse(sessionStorage.getItem(place));
		} catch {
			// Nothing is known then.
		}
		return Boolean(shown) && isSame(shown, notice) && (shown.stage ?? Infinity) <= now;
	}

	const tick = guarded(() => {
		const notice = state && state.notice;
		if (!notice || ended) return;
		if (!timers.tick) timers.tick = setInterval(tick, 250);
		const lag = Date.now() - performance.now() - skew;
		if (Math.abs(lag) > SLACK_MS) {
			skew += lag; // The machine has slept, or its clock was set: ask anew.
			connect();
			return;
		}
		const ms = left(notice);
		const late = performance.now() - notice.deadline;
		if (late > 1000 && !(late - notice.asked < 2000)) {
			notice.asked = late; // What comes now comes by the stream, or else is asked for.
			ask().catch(() => {});
		}
		if (!remembers(notice, stage(notice))) {
			own = tell('reminder');
			small = false;
			remember(notice);
			if (own) popUp(texts.title);
		}
		if (own) draw(notice, ms);
		else clear();
	});

	// What is shown

	function make(name, parent, id = '') {
		const element = document.createElementNS('http://www.w3.org/1999/xhtml', name);
		element.id = element.className = id;
		if (parent) parent.append(element);
		return element;
	}

	function build() {
		if (ui && ui.host.isConnected) return;
		if (ui) return document.documentElement.append(ui.host);
		const host = make('div');
		host.lang = locale;
		const root = host.attachShadow({ mode: 'closed' });
		const sheet = new CSSStyleSheet();
		sheet.replaceSync(STYLE);
		root.adoptedStyleSheets = [sheet];
		const banner = make('section', root, 'banner');
		banner.setAttribute('aria-label', texts.title);
		banner.hidden = true;
		const left = make('span', banner, 'left');
		const end = make('span', banner, 'end');
		const details = make('button', banner, 'details');
		details.textContent = texts.details;
		details.onclick = guarded(() => (ended ? farewell(left.textContent, true) : popUp(texts.title)));
		const hide = make('button', banner);
		hide.onclick = guarded(() => {
			small = !small;
			if (ended) return farewell(left.textContent);
			remember(state.notice);
			tick();
		});
		const live = make('div', root, 'live');
		live.setAttribute('role', 'status');
		const box = (title, text) => {
			const dialog = make('dialog', root);
			dialog.setAttribute('role', 'alertdialog');
			dialog.setAttribute('aria-labelledby', title);
			dialog.setAttribute('aria-describedby', text);
			dialog.tabIndex = -1;
			return dialog;
		};
		const words = (dialog, id) => {
			const text = make('p', dialog, id);
			text.dir = 'auto';
			text.tabIndex = 0;
			return text;
		};
		const dialog = box('title', 'message what');
		const card = { title: make('h2', dialog, 'title'), when: make('p', dialog), message: words(dialog, 'message'),
			what: make('p', dialog, 'what'), more: make('p', dialog), button: make('button', dialog) };
		const note = box('from', 'said');
		make('h2', note, 'from').textContent = texts.said;
		const saying = words(note, 'said');
		const read = make('button', note);
		read.textContent = texts.ok;
		read.onclick = guarded(() => note.close());
		dialog.onclose = guarded(showSaid);
		note.onclose = guarded(() => {
			try {
				dismiss();
			} finally {
				leave();
			}
		});
		// What is typed into our pop-up is none of the page's business.
		for (const type of ['keydown', 'keyup', 'keypress']) host.addEventListener(type, (event) => event.stopPropagation());
		document.documentElement.append(host);
		ui = { host, banner, left, end, details, hide, live, dialog, card, note, said: saying };
	}

	const put = (element, text) => {
		if (element.textContent !== text) element.textContent = text;
	};

	function bar(left, end, isLast, hasButtons) {
		build();
		ui.banner.hidden = false;
		ui.banner.classList.toggle('last', isLast);
		ui.banner.classList.toggle('small', small);
		put(ui.hide, small ? texts.show : texts.hide);
		ui.details.hidden = ui.hide.hidden = !hasButtons;
		put(ui.left, left);
		put(ui.end, end);
	}

	function draw(notice, ms) {
		bar(small ? span(ms) : headline(notice, ms), ends(notice), ms < 60000, true);
		if (ui.dialog.open) put(ui.card.when, when(notice, ms));
		const marks = [10, 30, 60, 120, 300, 600, 900, 1800, 3600];
		const mark = marks.find((lead) => ms <= lead * 1000) ?? Infinity;
		if (mark !== announced) {
			announced = mark;
			announce(headline(notice, ms));
		}
	}

	const announce = (text) => put(ui.live, text);

	function popUp(title) {
		const notice = state.notice;
		build();
		write(title, when(notice, left(notice)), notice.message, what(notice), more(notice, state.expected_end),
			texts.ok, () => ui.dialog.close());
		open();
	}

	// What is shown when it has ended. What the user has not saved stays on the page, to be copied.
	function farewell(title, isNews) {
		const closed = isClosed();
		bar(title, '', closed, true);
		write(title, '', closed && message, [texts.lost], closed ? [texts.closed, back(state.expected_end)] : [],
			closed ? texts.ok : texts.reload, () => (closed ? ui.dialog.close() : location.reload()));
		if (isNews) open();
		announce(title);
	}

	function write(title, time, message, what, more, label, action) {
		const { card } = ui;
		put(card.title, title);
		put(card.when, time);
		put(card.message, message || '');
		put(card.what, what.join(' '));
		put(card.more, more.filter(Boolean).join(' '));
		put(card.button, label);
		card.button.onclick = guarded(action);
	}

	function open() {
		ui.note.close(); // It comes again after this.
		if (!ui.dialog.open) ui.dialog.showModal();
		ui.dialog.focus(); // Not the button: who is typing just now must not close it by that.
	}

	function off() {
		stop();
		announced = null;
		small = false;
		bar(texts.off, texts.goOn, false, false);
		if (ui.dialog.open) ui.dialog.close();
		announce(texts.goOn);
		after('off', 8000, clear);
	}

	function clear() {
		if (!state || !state.notice) stop();
		announced = null;
		if (!ui) return;
		if (ui.dialog.open) ui.dialog.close();
		ui.banner.hidden = true;
		leave();
	}

	// Goes when there is nothing to show.
	function leave() {
		if (ui.banner.hidden && !ui.note.open) ui.host.remove();
	}

	const again = guarded(connect);
	document.addEventListener('visibilitychange', again);
	window.addEventListener('pageshow', (event) => event.persisted && again());
	window.addEventListener('online', again);
	window.addEventListener('pagehide', guarded(disconnect));
	connect();

	// One window shows it: this one, or a window around it of the same origin that does already.
	function isOurs() {
		if (window[GUARD]) return false;
		let top = null;
		if (window.top !== window) {
			try {
				top = window.top.document && window.top;
			} catch {
				// The page around this one is a stranger's.
			}
			if (innerWidth < 200 || innerHeight < 100 || (top && top[GUARD])) return false;
		}
		for (const place of [window, top]) {
			if (place) Object.defineProperty(place, GUARD, { value: true, configurable: true });
		}
		if (top) window.addEventListener('pagehide', () => delete top[GUARD]);
		return true;
	}
})();
