// What a notice says to the user of a page, in the language and the zone of whoever reads it: one function
// for the script in users' pages, and for the console, which shows it before it is sent.
function noticeWords(languages) {
	// {t}: a span or a time; the operator's message is shown apart.
	const TEXTS = {
		en: {
			title: 'Service notice', said: 'Message from the operators', changed: 'New time', off: 'Called off', ended: 'Your session has ended', open: 'The service is open again',
			ok: 'OK', details: 'Details', hide: 'Hide', show: 'Show', reload: 'Reload the page',
			session: 'Your session ends in {t}', service: 'This service closes in {t}',
			ends: 'Ends at {t}.', back: 'Expected to open again: {t}.',
			drain: 'Your server is taken out of service.', anew: 'You can then begin again on another server.',
			closing: 'This service closes for maintenance.', blocked: 'If you leave before that, you cannot come back until the service opens again.',
			save: 'Save your work: when the time is up, your session ends.',
			goOn: 'You can go on working.',
			lost: 'What was not saved may be lost.',
			closed: 'The service is closed. You will be told here when it opens again.',
		},
		de: {
			title: 'Hinweis zum Dienst', said: 'Nachricht der Betreiber', changed: 'Neue Zeit', off: 'Abgesagt', ended: 'Ihre Sitzung ist beendet', open: 'Der Dienst ist wieder geöffnet',
			ok: 'OK', details: 'Einzelheiten', hide: 'Ausblenden', show: 'Anzeigen', reload: 'Seite neu laden',
			session: 'Ihre Sitzung endet in {t}', service: 'Dieser Dienst schließt in {t}',
			ends: 'Ende: {t}.', back: 'Voraussichtlich wieder geöffnet: {t}.',
			drain: 'Ihr Server wird außer Betrieb genommen.', anew: 'Danach können Sie auf einem anderen Server neu beginnen.',
			closing: 'Dieser Dienst wird zur Wartung geschlossen.', blocked: 'Wenn Sie vorher gehen, können Sie erst zurückkommen, wenn der Dienst wieder geöffnet ist.',
			save: 'Speichern Sie Ihre Arbeit: Nach Ablauf der Zeit endet Ihre Sitzung.',
			goOn: 'Sie können weiterarbeiten.',
			lost: 'Nicht Gespeichertes kann verloren sein.',
			closed: 'Der Dienst ist geschlossen. Sobald er wieder öffnet, erfahren Sie es hier.',
		},
		fr: {
			title: 'Avis de service', said: 'Message de l’exploitant', changed: 'Nouvelle heure', off: 'Annulé', ended: 'Votre session est terminée', open: 'Le service est de nouveau ouvert',
			ok: 'OK', details: 'Détails', hide: 'Masquer', show: 'Afficher', reload: 'Recharger la page',
			session: 'Votre session se termine dans {t}', service: 'Ce service ferme dans {t}',
			ends: 'Fin : {t}.', back: 'Réouverture prévue : {t}.',
			drain: 'Votre serveur va être mis hors service.', anew: 'Vous pourrez recommencer sur un autre serveur.',
			closing: 'Ce service ferme pour maintenance.', blocked: 'Si vous partez avant, vous ne pourrez pas revenir avant la réouverture du service.',
			save: 'Enregistrez votre travail : à l’échéance, votre session se termine.',
			goOn: 'Vous pouvez continuer à travailler.',
			lost: 'Ce qui n’a pas été enregistré peut être perdu.',
			closed: 'Le service est fermé. Sa réouverture vous sera annoncée ici.',
		},
		es: {
			title: 'Aviso del servicio', said: 'Mensaje del operador', changed: 'Nueva hora', off: 'Cancelado', ended: 'Su sesión ha terminado', open: 'El servicio vuelve a estar abierto',
			ok: 'Aceptar', details: 'Detalles', hide: 'Ocultar', show: 'Mostrar', reload: 'Recargar la página',
			session: 'Su sesión termina en {t}', service: 'Este servicio cierra en {t}',
			ends: 'Fin: {t}.', back: 'Reapertura prevista: {t}.',
			drain: 'Su servidor se va a retirar del servicio.', anew: 'Después podrá empezar de nuevo en otro servidor.',
			closing: 'Este servicio cierra por mantenimiento.', blocked: 'Si sale antes, no podrá volver hasta que el servicio abra de nuevo.',
			save: 'Guarde su trabajo: cuando se acabe el tiempo, su sesión terminará.',
			goOn: 'Puede seguir trabajando.',
			lost: 'Lo que no se guardó puede haberse perdido.',
			closed: 'El servicio está cerrado. Aquí se le avisará cuando vuelva a abrir.',
		},
		ja: {
			title: 'サービスからのお知らせ', said: '運営者からのメッセージ', changed: '時刻の変更', off: '取り消し', ended: 'セッションは終了しました', open: 'サービスが再開しました',
			ok: 'OK', details: '詳細', hide: '隠す', show: '表示', reload: 'ページを再読み込み',
			session: 'あと{t}でセッションが終了します', service: 'あと{t}でこのサービスは停止します',
			ends: '終了時刻: {t}', back: '再開予定: {t}',
			drain: 'ご利用中のサーバーは停止されます。', anew: 'その後、別のサーバーで再開できます。',
			closing: 'このサービスはメンテナンスのため停止します。', blocked: 'その前に離れると、サービスが再開するまで戻れません。',
			save: '作業内容を保存してください。時間になるとセッションは終了します。',
			goOn: '作業を続けられます。',
			lost: '保存していない内容は失われた可能性があります。',
			closed: 'サービスは停止中です。再開したらここでお知らせします。',
		},
		zh: {
			title: '服务通知', said: '来自运营人员的消息', changed: '时间已更改', off: '已取消', ended: '您的会话已结束', open: '服务已重新开放',
			ok: '确定', details: '详情', hide: '隐藏', show: '显示', reload: '重新加载页面',
			session: '您的会话将在{t}后结束', service: '本服务将在{t}后关闭',
			ends: '结束时间：{t}', back: '预计重新开放：{t}',
			drain: '您正在使用的服务器即将停止服务。', anew: '之后您可以在另一台服务器上重新开始。',
			closing: '本服务因维护即将关闭。', blocked: '如果您提前离开，在服务重新开放之前将无法返回。',
			save: '请保存您的工作。时间一到，您的会话就会结束。',
			goOn: '您可以继续工作。',
			lost: '未保存的内容可能已丢失。',
			closed: '服务已关闭。重新开放时会在此通知您。',
		},
	};

	const locale = languages.find((tag) => TEXTS[tag.slice(0, 2).toLowerCase()]) || 'en';
	const texts = TEXTS[locale.slice(0, 2).toLowerCase()];
	const say = (text, t) => text.replace('{t}', () => t);

	function span(ms) {
		const seconds = Math.floor(ms / 1000);
		const minutes = Math.floor(seconds / 60);
		const hours = Math.floor(minutes / 60);
		let parts = [[Math.floor(hours / 24), 'day'], [hours % 24, 'hour']];
		if (minutes < 1) parts = [[seconds, 'second']];
		else if (minutes < 10) parts = [[minutes, 'minute'], [seconds % 60, 'second']];
		else if (minutes <= 90) parts = [[minutes, 'minute']];
		else if (hours < 48) parts = [[hours, 'hour'], [minutes % 60, 'minute']];
		const unitDisplay = parts.length > 1 ? 'short' : 'long';
		const say = ([number, unit]) => new Intl.NumberFormat(locale, { style: 'unit', unit, unitDisplay }).format(number);
		return parts.map(say).join(' ');
	}
	function time(at, precise) {
		const away = Math.abs(Date.parse(at) - Date.now());
		const day = { weekday: 'short', day: 'numeric', month: 'short' };
		const form = { hour: 'numeric', minute: '2-digit', timeZoneName: 'short', ...(away > 12 * 3600000 && day) };
		if (precise && away < 3600000) form.second = '2-digit';
		return new Intl.DateTimeFormat(locale, form).format(new Date(at));
	}
	const isClosing = (notice) => notice.kind === 'closing';
	const headline = (notice, ms) => say(isClosing(notice) ? texts.service : texts.session, span(ms));
	const ends = (notice) => say(texts.ends, time(notice.ends, true));
	const when = (notice, ms) => headline(notice, ms) + '. ' + ends(notice);
	const back = (at) => at && say(texts.back, time(at));
	const what = (notice) => [isClosing(notice) ? texts.closing : texts.drain, texts.save];
	const more = (notice, expectedEnd) =>
		(isClosing(notice) ? [notice.new_sessions_blocked && texts.blocked, back(expectedEnd)] : [texts.anew]);
	return { locale, texts, span, headline, ends, when, back, what, more };
}
