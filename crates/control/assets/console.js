// Keeps a page of the console up to date, and shows panels before anything is done. Everything works
// without it too, page by page: it changes no meaning, only the comfort.
(() => {
	const PART = { 'X-Ebbtide-Part': '1' };
	const BY_ITSELF = { 'Ebbtide-Live': '1' }; // No sign of life of whoever sits here.
	const SILENCE_MS = 25000; // The node says something every ten seconds.
	const RETRY_MS = 1500;
	const POLL_MS = 10000; // Where pages cannot be kept up to date otherwise.
	const TYPING_MS = 250;
	const TOLD_MS = 9000;
	const $ = (id) => document.getElementById(id);
	const panel = $('panel');
	const run = document.body.dataset.run;
	let stream = null;
	let silence = 0;
	let retry = 0;
	let skew = 0; // How far the node's clock is ahead of this one.
	let wasLost = false;
	let opener = null;

	// Times, in the zone of whoever reads them

	const zone = (options) => new Intl.DateTimeFormat(undefined, { hourCycle: 'h23', ...options });
	const clock = { hour: '2-digit', minute: '2-digit' };
	const day = { year: 'numeric', month: 'short', day: 'numeric' };
	const formats = {
		m: zone(clock),
		s: zone({ ...clock, second: '2-digit' }),
		d: zone({ ...day, ...clock, second: '2-digit' }),
		M: zone({ ...day, ...clock }),
		day: zone(day),
		// As the page of a closed pool has them, whose preview is in English.
		g: new Intl.DateTimeFormat('en', { weekday: "long", day: "numeric", month: "long", hour: "2-digit", minute: "2-digit", timeZoneName: "short" }),
	};

	function localise(root) {
		for (const element of root.querySelectorAll('[data-clock]')) {
			const at = new Date(element.getAttribute('datetime') || element.dataset.at);
			if (Number.isNaN(at.getTime())) continue;
			let kind = element.dataset.clock;
			// A time of another day is told with its date.
			const today = formats.day.format(at) === formats.day.format(new Date());
			if (!'dg'.includes(kind) && !today && element.localName === 'time') kind = 'M';
			element.textContent = formats[kind].format(at);
			if (element.localName === 'time') element.title = at.toISOString();
		}
		count(root);
		for (const notice of root.querySelectorAll('[data-notice]')) preview(notice);
	}

	// What users will be told, by the code that tells them, in the language and zone of whoever looks at it.
	const words = noticeWords(navigator.languages);

	function preview(element) {
		const { left, expected_end: expected, ...notice } = JSON.parse(element.dataset.notice);
		const said = {
			left: words.headline(notice, left),
			end: words.ends(notice),
			title: words.texts.title,
			when: words.when(notice, left),
			what: words.what(notice).join(' '),
			more: words.more(notice, expected).filter(Boolean).join(' '),
			ok: words.texts.ok,
		};
		for (const [name, text] of Object.entries(said)) {
			const place = element.querySelector(`[data-say=${name}]`);
			place.textContent = text;
			place.lang = words.locale;
		}
	}

	function count(root) {
		for (const element of root.querySelectorAll('[data-until]')) {
			const left = Math.max(0, Date.parse(element.dataset.until) - Date.now() - skew);
			element.textContent = span(left);
		}
	}

	function span(ms) {
		const seconds = Math.floor(ms / 1000);
		const [hours, minutes, rest] = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60, seconds % 60];
		if (hours >= 48) return `${Math.floor(hours / 24)} days`;
		if (hours) return `${hours}h ${minutes}m`;
		return minutes ? `${minutes}m ${rest}s` : `${rest}s`;
	}

	// What is new is put in where it differs: what has the focus, is chosen, or is open stays as it is

	function html(text) {
		const template = document.createElement('template');
		template.innerHTML = text;
		localise(template.content);
		return template.content;
	}

	function same(one, other) {
		return one.nodeType === other.nodeType && one.nodeName === other.nodeName && (one.id || '') === (other.id || '');
	}

	function attributes(from, to) {
		for (const { name } of [...from.attributes]) {
			if (!to.hasAttribute(name) && name !== 'open') from.removeAttribute(name);
		}
		for (const { name, value } of to.attributes) {
			if (from.getAttribute(name) !== value) from.setAttribute(name, value);
		}
	}

	function morph(from, to) {
		const known = new Map();
		for (const child of from.children) if (child.id) known.set(child.id, child);
		let at = from.firstChild;
		for (const wanted of [...to.childNodes]) {
			let found = wanted.id ? known.get(wanted.id) : null;
			if (!found && at && same(at, wanted)) found = at;
			if (!found) {
				from.insertBefore(wanted, at);
				continue;
			}
			if (found === at) at = at.nextSibling;
			else from.insertBefore(found, at);
			if (found.nodeType !== 1) {
				if (found.data !== wanted.data) found.data = wanted.data;
			} else if (!found.isEqualNode(wanted)) {
				attributes(found, wanted);
				// What somebody writes or has chosen is theirs.
				if (!['INPUT', 'TEXTAREA'].includes(found.nodeName)) morph(found, wanted);
			}
		}
		while (at) {
			const next = at.nextSibling;
			at.remove();
			at = next;
		}
	}

	// The page, kept up to date

	function say(state, words) {
		const pulse = $('pulse');
		if (!pulse || pulse.dataset.state === state) return;
		pulse.dataset.state = state;
		pulse.textContent = words;
	}

	function hear() {
		clearTimeout(silence);
		silence = setTimeout(lose, SILENCE_MS);
	}

	function connect() {
		disconnect();
		// Connections to one node are few: pages that nobody sees leave them to others.
		if (document.hidden) return;
		const mine = new EventSource('/live' + location.pathname + location.search);
		stream = mine;
		hear();
		mine.addEventListener('hello', (event) => {
			const [its, now] = event.data.split(' ');
			skew = Date.parse(now) - Date.now();
			if (its !== run) return renew(its);
			if (wasLost) tell('Connected again.');
			wasLost = false;
			say('live', 'Live');
			hear();
		});
		mine.addEventListener('page', (event) => {
			hear();
			morph($('live'), html(event.data));
		});
		mine.addEventListener('beat', hear);
		mine.addEventListener('again', connect);
		mine.onerror = () => {
			if (stream === mine) lose();
		};
	}

	function disconnect() {
		if (stream) stream.close();
		stream = null;
		clearTimeout(silence);
		clearTimeout(retry);
	}

	// The program was started anew meanwhile: this page may be of another version.
	function renew(its) {
		disconnect();
		if (panel.open) {
			say('lost', 'Restarted');
			tell('Ebbtide was restarted. Close this and look again.');
			panel.addEventListener('close', () => location.reload(), { once: true });
			return;
		}
		sessionStorage.setItem('told', its.split('-')[0] === run.split('-')[0] ? '' : 'Ebbtide was restarted; the page is new.');
		location.reload();
	}

	async function lose() {
		disconnect();
		wasLost = true;
		let wait = RETRY_MS;
		try {
			const answer = await fetch(location.href, { headers: BY_ITSELF, cache: 'no-store' });
			if (answer.status === 401) {
				say('lost', 'Signed out');
				return ask();
			}
			say('lost', 'Not live: looking every 10 seconds');
			if (answer.ok) {
				const page = new DOMParser().parseFromString(await answer.text(), 'text/html');
				const live = page.getElementById('live');
				if (live) morph($('live'), html(live.innerHTML));
				wait = POLL_MS;
			}
			retry = setTimeout(connect, wait);
		} catch {
			say('lost', 'Connection lost, trying again');
			retry = setTimeout(lose, wait);
		}
	}

	const signIn = () => '/sign-in?next=' + encodeURIComponent(location.pathname + location.search);

	function ask() {
		const told = tell('You are signed out: what is shown may be old. ');
		const link = document.createElement('a');
		link.href = signIn();
		link.textContent = 'Sign in again';
		told.append(link);
		told.dataset.stays = 'yes';
	}

	// What is told for a moment

	function tell(words) {
		const box = document.createElement('p');
		box.textContent = words;
		if (panel.open) panel.prepend(box);
		else $('told').append(box);
		box.className = 'told';
		setTimeout(() => box.dataset.stays || box.remove(), TOLD_MS);
		return box;
	}

	// Panels

	async function show(href) {
		const answer = await fetch(href, { headers: PART, cache: 'no-store' });
		if (answer.status === 401) return location.assign(signIn());
		fill(await answer.text());
		if (!panel.open) panel.showModal();
		const field = panel.querySelector('input:not([type=hidden], [name=force]), textarea, select, button.main');
		(field || panel).focus();
	}

	function fill(text) {
		panel.replaceChildren(html(text));
	}

	function said(form) {
		const data = new URLSearchParams(new FormData(form));
		if (data.get('at')) data.set('zone', offset(data.get('at')));
		return data;
	}

	// What the clocks show there and then, ahead of UTC.
	function offset(at) {
		const minutes = -new Date(at).getTimezoneOffset();
		const two = (number) => String(number).padStart(2, '0');
		return (minutes < 0 ? '-' : '+') + two(Math.floor(Math.abs(minutes) / 60)) + ':' + two(Math.abs(minutes) % 60);
	}

	async function send(form) {
		const button = form.querySelector('button.main');
		button.disabled = true;
		try {
			const answer = await fetch(form.action, { method: 'POST', headers: PART, body: said(form) });
			// The node asks who it is before: with a page of its own, which keeps what was typed.
			if (answer.status === 401 || answer.headers.get('X-Ebbtide-Again')) return sendPlainly(form);
			const text = await answer.text();
			if (answer.headers.get('X-Ebbtide-Done')) {
				panel.close();
				tell(text);
			} else {
				fill(text);
				const alert = panel.querySelector('[role=alert], .box, h1');
				if (alert) {
					alert.tabIndex = -1;
					alert.focus();
				}
			}
		} catch {
			button.disabled = false;
			tell('The node cannot be reached: nothing is known of what became of it. Look before you try again.');
		}
	}

	function sendPlainly(form) {
		const zone = document.createElement('input');
		zone.type = 'hidden';
		zone.name = 'zone';
		zone.value = said(form).get('zone') || '';
		form.append(zone);
		form.submit();
	}

	// What of a form may stand in an address: passwords may not, nor what shows that the form is ours.
	function withoutSecrets(form) {
		const data = said(form);
		for (const field of form.querySelectorAll('[type=password], [name=csrf]')) data.delete(field.name);
		return data.toString();
	}

	// What a form would do is foretold anew while it is filled in.
	async function foretell(form) {
		const asked = withoutSecrets(form);
		const answer = await fetch(form.getAttribute('action') + '?' + asked, { headers: PART, cache: 'no-store' });
		const place = $('foretold');
		if (!answer.ok || !place || !panel.contains(form) || withoutSecrets(form) !== asked) return;
		const next = html(await answer.text()).getElementById('foretold');
		if (next) morph(place, next);
	}

	let typing = 0;
	function soon(action) {
		clearTimeout(typing);
		typing = setTimeout(() => action().catch(() => {}), TYPING_MS);
	}

	async function filter(form) {
		const data = new URLSearchParams(new FormData(form));
		for (const [name, value] of [...data]) if (!value) data.delete(name);
		history.replaceState(null, '', location.pathname + (data.size ? '?' + data : ''));
		connect();
	}

	document.addEventListener('click', (event) => {
		if (event.button || event.ctrlKey || event.metaKey || event.shiftKey) return;
		const link = event.target.closest('a[data-panel], [data-close], button[data-fill]');
		if (!link) return;
		if (link.matches('[data-fill]')) {
			const field = $(link.dataset.fill);
			field.value = link.dataset.value;
			field.dispatchEvent(new Event('input', { bubbles: true }));
			return;
		}
		if (link.matches('[data-close]') && !panel.open) return;
		event.preventDefault();
		if (link.matches('[data-close]')) return panel.close();
		opener = link.getAttribute('href');
		show(link.href).catch(() => tell('The node cannot be reached. Nothing was done.'));
	});

	document.addEventListener('submit', (event) => {
		const form = event.target;
		if (form.matches('[data-filter]')) {
			event.preventDefault();
			soon(() => filter(form));
		} else if (form.matches('[data-panel-form]') && panel.contains(form)) {
			event.preventDefault();
			send(form);
		}
	});

	document.addEventListener('input', (event) => {
		const { form } = event.target;
		if (!form) return;
		if (form.matches('[data-filter]')) {
			// Another pool has other servers.
			if (event.target.name === 'pool' && form.elements.server) form.elements.server.value = '';
			soon(() => filter(form));
		} else if (form.matches('[data-panel-form]') && panel.contains(form) && event.target.name !== 'reason' && event.target.type !== 'password') {
			// A deadline is a span or a moment: whichever was filled in last.
			const other = { within: 'at', at: 'within' }[event.target.name];
			if (other && form.elements[other] && event.target.value) form.elements[other].value = '';
			soon(() => foretell(form));
		}
	});

	panel.addEventListener('close', () => {
		panel.replaceChildren();
		// The link may have been replaced meanwhile by one that looks the same.
		const link = [...document.querySelectorAll('a[data-panel]')].find((one) => one.getAttribute('href') === opener);
		(link || $('main')).focus({ preventScroll: true });
	});

	document.addEventListener('keydown', (event) => {
		if (event.key !== '/' || event.ctrlKey || event.metaKey || event.altKey) return;
		if (event.target.closest('input, textarea, select, dialog')) return;
		const field = document.querySelector('form[data-filter] input[type=search]');
		if (!field) return;
		event.preventDefault();
		field.focus();
	});

	say('wait', 'Connecting');
	localise(document);
	// On a phone the pages' row is longer than the screen.
	document.querySelector('.top nav [aria-current]')?.scrollIntoView({ block: 'nearest', inline: 'center' });
	setInterval(() => count(document), 1000);
	const told = sessionStorage.getItem('told');
	sessionStorage.removeItem('told');
	if (told) tell(told);
	if (document.body.dataset.live === 'true') {
		document.addEventListener('visibilitychange', () => (document.hidden ? disconnect() : connect()));
		connect();
	}
})();
