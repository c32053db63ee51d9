// Tells the user of a page what Ebbtide tells of their session: a banner that counts down, a pop-up
// at the first notice and at each reminder, and a pop-up when the session has ended.
//
// A page shows its own instead by calling preventDefault() on the event `ebbtide:notice` of window,
// whose detail is the JSON of `session` and `why`: notice, reminder, changed, cancelled or ended.
(() => {
	'use strict';
	const GUARD = Symbol.for('ebbtide.notice');
	const POLL_MS = 15000;
	const SILENCE_MS = 10000; // A stream that says nothing for so long is held back by something.
	const SLACK_MS = 2000; // Deadlines that differ by less are the same one.
	// Ends that a user should hear of; others come of their own doing or of a server's failure.
	const TOLD_ENDS = ['deadline', 'ended-by-operator', 'forgotten', 'idle'];
	const base = document.currentScript
		? document.currentScript.src.replace(/[^/]*$/, '')
		: '/.ebbtide/';

	// {t}: a span or a time; {m}: the operator's message is shown apart.
	const TEXTS = {
		en: ['Service notice', 'Your session ends in {t}', 'This service closes in {t}', 'Ends at {t}.',
			'Your server is taken out of service. Save your work: when the time is up, your session ends. You can then begin again on another server.',
			'This service closes for maintenance. Save your work: when the time is up, your session ends.',
			'If you leave before that, you cannot come back until the service opens again.',
			'OK', 'Details', 'Hide', 'Called off', 'The end of your session has been called off. You can go on working.',
			'New time', 'Your session has ended', 'What was not saved may be lost. Reload the page to go on.', 'Reload'],
		de: ['Hinweis zum Dienst', 'Ihre Sitzung endet in {t}', 'Dieser Dienst schließt in {t}', 'Ende: {t}.',
			'Ihr Server wird außer Betrieb genommen. Speichern Sie Ihre Arbeit: Nach Ablauf der Zeit endet Ihre Sitzung. Danach können Sie auf einem anderen Server neu beginnen.',
			'Dieser Dienst wird zur Wartung geschlossen. Speichern Sie Ihre Arbeit: Nach Ablauf der Zeit endet Ihre Sitzung.',
			'Wenn Sie vorher gehen, können Sie erst zurückkommen, wenn der Dienst wieder geöffnet ist.',
			'OK', 'Einzelheiten', 'Ausblenden', 'Abgesagt', 'Das Ende Ihrer Sitzung wurde abgesagt. Sie können weiterarbeiten.',
			'Neue Zeit', 'Ihre Sitzung ist beendet', 'Nicht Gespeichertes kann verloren sein. Laden Sie die Seite neu, um fortzufahren.', 'Neu laden'],
		fr: ['Avis de service', 'Votre session se termine dans {t}', 'Ce service ferme dans {t}', 'Fin : {t}.',
			'Votre serveur va être mis hors service. Enregistrez votre travail : à l’échéance, votre session se termine. Vous pourrez recommencer sur un autre serveur.',
			'Ce service ferme pour maintenance. Enregistrez votre travail : à l’échéance, votre session se termine.',
			'Si vous partez avant, vous ne pourrez pas revenir avant la réouverture du service.',
			'OK', 'Détails', 'Masquer', 'Annulé', 'La fin de votre session a été annulée. Vous pouvez continuer à travailler.',
			'Nouvelle heure', 'Votre session est terminée', 'Ce qui n’a pas été enregistré peut être perdu. Rechargez la page pour continuer.', 'Recharger'],
		es: ['Aviso del servicio', 'Su sesión termina en {t}', 'Este servicio cierra en {t}', 'Fin: {t}.',
			'Su servidor se va a retirar del servicio. Guarde su trabajo: cuando se acabe el tiempo, su sesión terminará. Después podrá empezar de nuevo en otro servidor.',
			'Este servicio cierra por mantenimiento. Guarde su trabajo: cuando se acabe el tiempo, su sesión terminará.',
			'Si sale antes, no podrá volver hasta que el servicio abra de nuevo.',
			'Aceptar', 'Detalles', 'Ocultar', 'Cancelado', 'El fin de su sesión se ha cancelado. Puede seguir trabajando.',
			'Nueva hora', 'Su sesión ha terminado', 'Lo que no se guardó puede haberse perdido. Recargue la página para continuar.', 'Recargar'],
		ja: ['サービスからのお知らせ', 'あと{t}でセッションが終了します', 'あと{t}でこのサービスは停止します', '終了時刻: {t}',
			'ご利用中のサーバーは停止されます。作業内容を保存してください。時間になるとセッションは終了します。その後、別のサーバーで再開できます。',
			'このサービスはメンテナンスのため停止します。作業内容を保存して終了してください。時間になるとセッションは終了します。',
			'その前に離れると、サービスが再開するまで戻れません。',
			'OK', '詳細', '隠す', '取り消し', 'セッションの終了は取り消されました。作業を続けられます。',
			'時刻の変更', 'セッションは終了しました', '保存していない内容は失われた可能性があります。続けるにはページを再読み込みしてください。', '再読み込み'],
		zh: ['服务通知', '您的会话将在{t}后结束', '本服务将在{t}后关闭', '结束时间：{t}',
			'您正在使用的服务器即将停止服务。请保存您的工作。时间一到，您的会话就会结束；之后您可以在另一台服务器上重新开始。',
			'本服务因维护即将关闭。请保存并完成您的工作。时间一到，您的会话就会结束。',
			'如果您提前离开，在服务重新开放之前将无法返回。',
			'确定', '详情', '隐藏', '已取消', '会话结束的安排已取消。您可以继续工作。',
			'时间已更改', '您的会话已结束', '未保存的内容可能已丢失。请重新加载页面以继续。', '重新加载'],
	};
	const [TITLE, SESSION_IN, SERVICE_IN, ENDS, DRAIN, CLOSING, BLOCKED, OK, DETAILS, HIDE, OFF, OFF_TEXT,
		CHANGED, ENDED, ENDED_TEXT, RELOAD] = Array(16).keys();

	const STYLE = `
:host{all:initial;color-scheme:light dark;--back:#fff3cd;--ink:#3d2f00;--edge:#8a6a00;--card:#fff;--text:#1b1b1b;--button:#0b57d0;--on:#fff}
@media (prefers-color-scheme:dark){:host{--back:#3a2f0b;--ink:#ffe9a8;--edge:#d6ad32;--card:#24262a;--text:#f1f1f1;--button:#a8c7fa;--on:#062e6f}}
*{box-sizing:border-box;font:400 15px/1.45 system-ui,sans-serif}
.banner{position:fixed;inset:0 0 auto 0;z-index:2147483647;display:flex;flex-wrap:wrap;align-items:center;justify-content:center;gap:4px 12px;padding:6px 12px;background:var(--back);color:var(--ink);border-bottom:2px solid var(--edge);animation:come .3s ease-out}
.banner.small{inset:8px 8px auto auto;border:2px solid var(--edge);border-radius:99px;padding:2px 6px 2px 14px}
.small .end{display:none}
@media (max-width:500px){.end{display:none}}
.banner.last{--back:#a3160f;--ink:#fff;--edge:#fff}
.left{font-weight:700;font-variant-numeric:tabular-nums}
button{padding:5px 14px;border:1px solid currentColor;border-radius:6px;background:transparent;color:inherit;cursor:pointer}
button:focus-visible{outline:3px solid currentColor;outline-offset:2px}
dialog{width:min(30rem,calc(100vw - 32px));max-height:calc(100vh - 32px);overflow:auto;padding:20px 24px;border:2px solid var(--edge);border-radius:12px;background:var(--card);color:var(--text);animation:come .2s ease-out}
dialog:focus{outline:none}
dialog::backdrop{background:rgb(0 0 0 / 50%)}
h2{margin:0 0 8px;font-size:20px;font-weight:700}
p{margin:0 0 10px}
.message{max-height:30vh;overflow:auto;padding:8px 12px;border-left:4px solid var(--edge);background:var(--back);color:var(--ink);white-space:pre-line;overflow-wrap:anywhere}
.message:empty,p:empty{display:none}
dialog button{background:var(--button);color:var(--on);border-color:var(--button)}
dialog button:focus-visible{outline-color:var(--text)}
.live{position:fixed;width:1px;height:1px;overflow:hidden;clip-path:inset(50%)}
[hidden]{display:none}
@keyframes come{from{opacity:0;translate:0 -12px}}
@media (prefers-reduced-motion:reduce){.banner,dialog{animation:none}}
@media (forced-colors:active){.banner,dialog{border:2px solid CanvasText}
button{border-color:ButtonText}}`;

	function start() {
		const wanted = navigator.languages || [navigator.language];
		const locale = wanted.find((tag) => TEXTS[tag.slice(0, 2).toLowerCase()]) || 'en';
		const lang = locale.slice(0, 2).toLowerCase();
		const texts = TEXTS[lang];
		const say = (which, t) => texts[which].replace('{t}', () => t);

		let state = null; // What was told last, with `deadline` on the clock of performance.now().
		let ended = false;
		let shown = null; // The end and the stage of the last pop-up.
		let own = true; // Whether it is for us to show it.
		let small = false;
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

		// How it is found out

		function connect() {
			disconnect();
			if (ended) return;
			// Connections to one host are few: windows that nobody sees leave them to others.
			if (document.visibilityState === 'hidden' || typeof EventSource !== 'function') return poll();
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
				if (!stream) after('poll', POLL_MS * (0.8 + Math.random() * 0.4), poll);
			};
			ask().then(next, next);
		}

		async function ask() {
			const answer = await fetch(base + 'session', { cache: 'no-store', credentials: 'same-origin' });
			if (answer.ok) take(await answer.json());
		}

		// What is made of it

		const take = guarded((news) => {
			if (ended) return;
			const before = state;
			const notice = news.notice;
			state = news;
			if (notice) notice.deadline = performance.now() + (notice.milliseconds_left ?? notice.seconds_left * 1000);
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
				const same = old && old.kind === notice.kind && old.message === notice.message && near(old.ends, notice.ends);
				if (!same) {
					small = false;
					const known = remembers(notice, stage(notice));
					own = tell(old ? 'changed' : 'notice');
					if (own && !known) popUp(old ? texts[CHANGED] : texts[TITLE]);
					remember(notice);
				}
				tick();
			} else if (old) {
				own = tell('cancelled');
				if (own) off();
				else clear();
			}
		});

		function end(notice) {
			ended = true;
			disconnect();
			clearInterval(timers.tick);
			timers.tick = 0;
			if (!tell('ended')) return clear();
			build();
			ui.banner.hidden = true;
			open(texts[ENDED], notice && notice.message, texts[ENDED_TEXT], '', texts[RELOAD], () => location.reload());
			announce(texts[ENDED]);
		}

		// True if the page leaves it to us.
		function tell(why) {
			const detail = JSON.parse(JSON.stringify({ ...state, why }));
			if (detail.notice) delete detail.notice.deadline;
			return window.dispatchEvent(new CustomEvent('ebbtide:notice', { detail, cancelable: true }));
		}

		const near = (one, other) => Math.abs(Date.parse(one) - Date.parse(other)) < SLACK_MS;
		const left = (notice) => Math.max(0, notice.deadline - performance.now());
		// The reminder that came last, in seconds; Infinity before the first.
		const stage = (notice) =>
			Math.min(Infinity, ...notice.reminders.filter((lead) => left(notice) <= lead * 1000));

		// What was seen is not shown again on the next page.
		const place = 'ebbtide:notice';
		function remember(notice) {
			shown = { kind: notice.kind, ends: notice.ends, stage: stage(notice), message: notice.message };
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
			return Boolean(shown) && shown.kind === notice.kind && shown.message === notice.message &&
				near(shown.ends, notice.ends) && (shown.stage ?? Infinity) <= now;
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
			if (ms === 0) {
				const now = performance.now(); // What comes now comes by the stream, or else is asked for.
				if (now - notice.deadline > 1000 && !(now - notice.asked < 2000)) {
					notice.asked = now;
					ask().catch(() => {});
				}
			}
			if (!remembers(notice, stage(notice))) {
				own = tell('reminder');
				remember(notice);
				small = false;
				if (own) popUp(texts[TITLE]);
			}
			if (own) draw(notice, ms);
			else clear();
		});

		// What is shown

		const unit = (number, name) =>
			new Intl.NumberFormat(locale, { style: 'unit', unit: name, unitDisplay: 'long' }).format(number);
		function span(ms) {
			const seconds = Math.ceil(ms / 1000);
			if (seconds <= 60) return unit(seconds, 'second');
			const minutes = Math.ceil(seconds / 60);
			if (minutes <= 90) return unit(minutes, 'minute');
			const hours = Math.floor(minutes / 60);
			if (hours < 48) return unit(hours, 'hour') + (minutes % 60 ? ' ' + unit(minutes % 60, 'minute') : '');
			return unit(Math.floor(hours / 24), 'day') + (hours % 24 ? ' ' + unit(hours % 24, 'hour') : '');
		}
		const headline = (notice, ms) => say(notice.kind === 'closing' ? SERVICE_IN : SESSION_IN, span(ms));
		function ending(notice) {
			const end = new Date(notice.ends);
			const time = { hour: 'numeric', minute: '2-digit', timeZoneName: 'short' };
			const date = { weekday: 'short', day: 'numeric', month: 'short', ...time };
			const far = Math.abs(end - Date.now()) > 12 * 3600 * 1000;
			return say(ENDS, new Intl.DateTimeFormat(locale, far ? date : time).format(end));
		}

		function make(name, className, parent) {
			const element = document.createElementNS('http://www.w3.org/1999/xhtml', name);
			element.className = className;
			if (parent) parent.append(element);
			return element;
		}

		function build() {
			if (ui && ui.host.isConnected) return;
			if (ui) return document.documentElement.append(ui.host);
			const host = make('div', '');
			const root = host.attachShadow({ mode: 'closed' });
			const sheet = new CSSStyleSheet();
			sheet.replaceSync(STYLE);
			root.adoptedStyleSheets = [sheet];
			host.lang = locale;
			const banner = make('section', 'banner', root);
			banner.setAttribute('aria-label', texts[TITLE]);
			const row = { left: make('span', 'left', banner), end: make('span', 'end', banner) };
			const details = make('button', 'details', banner);
			details.textContent = texts[DETAILS];
			details.onclick = guarded(() => popUp(texts[TITLE]));
			const hide = make('button', 'hide', banner);
			hide.textContent = texts[HIDE];
			hide.onclick = guarded(() => {
				small = true;
				tick();
			});
			const live = make('div', 'live', root);
			live.setAttribute('role', 'status');
			live.setAttribute('aria-live', 'polite');
			const dialog = make('dialog', '', root);
			dialog.setAttribute('role', 'alertdialog');
			dialog.tabIndex = -1;
			const card = { title: make('h2', '', dialog), when: make('p', '', dialog), message: make('p', 'message', dialog),
				what: make('p', '', dialog), more: make('p', '', dialog), button: make('button', '', dialog) };
			card.title.id = 'title';
			card.message.dir = 'auto';
			card.message.tabIndex = 0;
			card.what.id = 'what';
			card.message.id = 'message';
			dialog.setAttribute('aria-labelledby', 'title');
			dialog.setAttribute('aria-describedby', 'message what');
			// What is typed into our pop-up is none of the page's business.
			for (const type of ['keydown', 'keyup', 'keypress']) host.addEventListener(type, (event) => event.stopPropagation());
			document.documentElement.append(host);
			ui = { host, banner, ...row, details, hide, live, dialog, card };
		}

		const put = (element, text) => {
			if (element.textContent !== text) element.textContent = text;
		};

		function draw(notice, ms) {
			build();
			ui.banner.hidden = false;
			ui.banner.classList.toggle('small', small && ms > 60000);
			ui.banner.classList.toggle('last', ms <= 60000);
			put(ui.left, headline(notice, ms));
			put(ui.end, ending(notice));
			ui.hide.hidden = small || ms <= 60000;
			ui.details.hidden = false;
			if (ui.dialog.open) put(ui.card.when, headline(notice, ms) + '. ' + ending(notice));
			const seconds = Math.ceil(ms / 1000);
			const marks = [10, 30, 60, 120, 180, 240, 300, 600, 900, 1800, 3600];
			const mark = marks.find((lead) => seconds <= lead) ?? Infinity;
			if (mark !== announced) {
				announced = mark;
				announce(headline(notice, ms));
			}
		}

		const announce = (text) => put(ui.live, text);

		function popUp(title) {
			const notice = state.notice;
			build();
			open(title, notice.message, texts[notice.kind === 'closing' ? CLOSING : DRAIN],
				notice.kind === 'closing' && notice.new_sessions_blocked ? texts[BLOCKED] : '', texts[OK], () => ui.dialog.close());
			put(ui.card.when, headline(notice, left(notice)) + '. ' + ending(notice));
		}

		function open(title, message, what, more, label, action) {
			const { dialog, card } = ui;
			put(card.title, title);
			put(card.when, '');
			put(card.message, message || '');
			put(card.what, what);
			put(card.more, more);
			put(card.button, label);
			card.button.onclick = guarded(action);
			if (!dialog.open) dialog.showModal();
			dialog.focus(); // Not the button: who is typing just now must not close it by that.
		}

		function off() {
			build();
			if (ui.dialog.open) ui.dialog.close();
			clearInterval(timers.tick);
			timers.tick = 0;
			announced = null;
			ui.banner.classList.remove('last', 'small');
			ui.banner.hidden = false;
			put(ui.left, texts[OFF]);
			put(ui.end, texts[OFF_TEXT]);
			ui.details.hidden = ui.hide.hidden = true;
			announce(texts[OFF_TEXT]);
			after('off', 8000, clear);
		}

		function clear() {
			if (!state || !state.notice) {
				clearInterval(timers.tick);
				timers.tick = 0;
			}
			announced = null;
			if (!ui) return;
			if (ui.dialog.open) ui.dialog.close();
			ui.host.remove();
		}

		const again = guarded(connect);
		document.addEventListener('visibilitychange', again);
		window.addEventListener('pageshow', (event) => event.persisted && again());
		window.addEventListener('online', again);
		window.addEventListener('pagehide', guarded(disconnect));
		connect();
	}

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

	try {
		if (isOurs()) start();
	} catch {
		// A browser without what this needs shows nothing.
	}
})();
