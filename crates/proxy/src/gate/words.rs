//! What the gate's pages say, in the languages of those who read them.

use ebbtide_protocol::http1::Field;

use crate::pages::field;

/// The texts of one language.
#[derive(Debug)]
pub(super) struct Words {
    /// As in `Accept-Language` and `lang` (RFC 5646): the primary subtag.
    pub language: &'static str,
    pub closed_title: &'static str,
    pub closed_text: &'static str,
    pub full_title: &'static str,
    pub full_text: &'static str,
    pub unavailable_title: &'static str,
    pub unavailable_text: &'static str,
    pub operators_title: &'static str,
    pub operators_text: &'static str,
    pub began: &'static str,
    pub expected_end: &'static str,
    /// The way in is open.
    pub open: &'static str,
    /// A closing is announced, and whoever comes is let in until then.
    pub planned: &'static str,
    /// A closing is announced, and nobody new is let in.
    pub closing: &'static str,
    pub closes: &'static str,
    pub contact: &'static str,
    /// The page looks by itself whether it may go on.
    pub refreshes: &'static str,
    /// What was sent was not processed.
    pub not_processed: &'static str,
    /// The way in is open again.
    pub go_on: &'static str,
}

/// Languages looked at in one `Accept-Language`; browsers send a handful.
const LANGUAGES_MAX: usize = 32;

/// The first is what others get.
pub(super) const ALL: [Words; 6] = [
    Words {
        language: "en",
        closed_title: "Down for maintenance",
        closed_text: "This service is closed for maintenance and will be back soon.",
        full_title: "All sessions in use",
        full_text: "Every place is taken at the moment: all sessions are in use. Please try again shortly.",
        unavailable_title: "Service unavailable",
        unavailable_text: "No server admits new sessions at the moment. Please try again shortly.",
        operators_title: "For operators only",
        operators_text: "This service is for operators only. If you need access, ask whoever runs it.",
        began: "Began",
        expected_end: "Expected end",
        open: "This service is open",
        planned: "Maintenance is planned",
        closing: "This service is closing",
        closes: "Closes",
        contact: "Contact",
        refreshes: "You can leave this page open: it takes you on by itself as soon as that is possible.",
        not_processed: "What you have just sent was not processed.",
        go_on: "Continue",
    },
    Words {
        language: "de",
        closed_title: "Wartungsarbeiten",
        closed_text: "Dieser Dienst ist wegen Wartungsarbeiten geschlossen und bald wieder da.",
        full_title: "Alle Plätze belegt",
        full_text: "Im Augenblick sind alle Sitzungen belegt. Bitte versuchen Sie es in Kürze noch einmal.",
        unavailable_title: "Dienst nicht verfügbar",
        unavailable_text: "Zurzeit nimmt kein Server neue Sitzungen an. Bitte versuchen Sie es in Kürze noch einmal.",
        operators_title: "Nur für den Betrieb",
        operators_text: "Dieser Dienst ist nur für seine Betreiber bestimmt. Wenn Sie Zugang brauchen, wenden Sie sich an diese.",
        began: "Beginn",
        expected_end: "Voraussichtliches Ende",
        open: "Dieser Dienst ist geöffnet",
        planned: "Wartungsarbeiten sind geplant",
        closing: "Dieser Dienst schließt",
        closes: "Schließt",
        contact: "Kontakt",
        refreshes: "Sie können diese Seite offen lassen: Sobald es weitergeht, führt sie Sie von selbst weiter.",
        not_processed: "Was Sie eben abgeschickt haben, wurde nicht verarbeitet.",
        go_on: "Weiter",
    },
    Words {
        language: "fr",
        closed_title: "Maintenance en cours",
        closed_text: "Ce service est fermé pour maintenance et sera bientôt de retour.",
        full_title: "Toutes les sessions sont utilisées",
        full_text: "Toutes les places sont occupées pour le moment. Veuillez réessayer dans quelques instants.",
        unavailable_title: "Service indisponible",
        unavailable_text: "Aucun serveur n’accepte de nouvelle session pour le moment. Veuillez réessayer dans quelques instants.",
        operators_title: "Réservé aux opérateurs",
        operators_text: "Ce service est réservé à ses opérateurs. Si vous avez besoin d’un accès, adressez-vous à eux.",
        began: "Début",
        expected_end: "Fin prévue",
        open: "Ce service est ouvert",
        planned: "Une maintenance est prévue",
        closing: "Ce service ferme",
        closes: "Fermeture",
        contact: "Contact",
        refreshes: "Vous pouvez laisser cette page ouverte : elle vous mènera plus loin dès que possible.",
        not_processed: "Ce que vous venez d’envoyer n’a pas été traité.",
        go_on: "Continuer",
    },
    Words {
        language: "es",
        closed_title: "En mantenimiento",
        closed_text: "Este servicio está cerrado por mantenimiento y volverá pronto.",
        full_title: "Todas las sesiones están en uso",
        full_text: "En este momento todas las plazas están ocupadas. Vuelva a intentarlo en breve.",
        unavailable_title: "Servicio no disponible",
        unavailable_text: "En este momento ningún servidor admite sesiones nuevas. Vuelva a intentarlo en breve.",
        operators_title: "Solo para operadores",
        operators_text: "Este servicio está reservado a sus operadores. Si necesita acceso, diríjase a ellos.",
        began: "Inicio",
        expected_end: "Fin previsto",
        open: "Este servicio está abierto",
        planned: "Hay un mantenimiento previsto",
        closing: "Este servicio cierra",
        closes: "Cierre",
        contact: "Contacto",
        refreshes: "Puede dejar esta página abierta: le llevará adelante en cuanto sea posible.",
        not_processed: "Lo que acaba de enviar no se ha procesado.",
        go_on: "Continuar",
    },
    Words {
        language: "ja",
        closed_title: "メンテナンス中",
        closed_text: "このサービスはメンテナンスのため停止しています。まもなく再開します。",
        full_title: "すべてのセッションが使用中です",
        full_text: "現在、空きがありません。しばらくしてからもう一度お試しください。",
        unavailable_title: "サービスを利用できません",
        unavailable_text: "現在、新しいセッションを受け付けているサーバーがありません。しばらくしてからもう一度お試しください。",
        operators_title: "運用担当者専用です",
        operators_text: "このサービスは運用担当者専用です。アクセスが必要な場合は、運用担当者にお問い合わせください。",
        began: "開始",
        expected_end: "終了予定",
        open: "このサービスは稼働中です",
        planned: "メンテナンスが予定されています",
        closing: "このサービスはまもなく停止します",
        closes: "停止時刻",
        contact: "お問い合わせ",
        refreshes: "このページを開いたままお待ちください。利用可能になると自動的に移動します。",
        not_processed: "送信された内容は処理されていません。",
        go_on: "続ける",
    },
    Words {
        language: "zh",
        closed_title: "系统维护中",
        closed_text: "本服务因维护暂时关闭，很快将恢复。",
        full_title: "所有会话均已占用",
        full_text: "目前没有空位，请稍后再试。",
        unavailable_title: "服务不可用",
        unavailable_text: "目前没有服务器接受新会话，请稍后再试。",
        operators_title: "仅供运维人员使用",
        operators_text: "本服务仅供运维人员使用。如需访问，请联系运维人员。",
        began: "开始时间",
        expected_end: "预计结束",
        open: "本服务正常开放",
        planned: "已计划维护",
        closing: "本服务即将关闭",
        closes: "关闭时间",
        contact: "联系方式",
        refreshes: "您可以保持此页面打开：一旦可用，它会自动带您继续。",
        not_processed: "您刚才提交的内容未被处理。",
        go_on: "继续",
    },
];

/// The language that the request asks for most (RFC 9110, 12.5.4), among those there are.
pub(super) fn wanted(buf: &[u8], fields: &[Field]) -> &'static Words {
    let accept = field(buf, fields, b"accept-language").unwrap_or_default();
    let mut best: Option<(u32, &'static Words)> = None;
    for range in accept.split(|byte| *byte == b',').take(LANGUAGES_MAX) {
        let Ok(range) = std::str::from_utf8(range) else {
            continue;
        };
        let (tag, weight) = range.split_once(';').unwrap_or((range, ""));
        let primary = tag.trim().split('-').next().unwrap_or_default();
        let words = ALL
            .iter()
            .find(|words| words.language.eq_ignore_ascii_case(primary));
        let (Some(words), Some(weight)) = (words, thousandths(weight)) else {
            continue;
        };
        if weight > best.map_or(0, |(best, _)| best) {
            best = Some((weight, words));
        }
    }
    best.map_or(&ALL[0], |(_, words)| words)
}

/// The weight of ` q=0.8`, in thousandths; 1000 where none is given, `None` where it makes no sense.
fn thousandths(parameter: &str) -> Option<u32> {
    let parameter = parameter.trim();
    if parameter.is_empty() {
        return Some(1000);
    }
    let value: f32 = parameter.strip_prefix("q=")?.trim().parse().ok()?;
    (0.0..=1.0)
        .contains(&value)
        .then_some((value * 1000.0) as u32)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ebbtide_protocol::http1::{Limits, RequestHead, parse_request};

    fn language(accept: &str) -> &'static str {
        let text = format!("GET / HTTP/1.1\r\nHost: a\r\nAccept-Language: {accept}\r\n\r\n");
        let mut head = RequestHead::default();
        parse_request(text.as_bytes(), &Limits::default(), &mut head).unwrap();
        wanted(text.as_bytes(), &head.fields).language
    }

    #[test]
    fn people_are_told_in_the_language_they_like_best() {
        assert_eq!(language("de-CH,de;q=0.9,en;q=0.8"), "de");
        assert_eq!(language("it, en;q=0.4, FR;q=0.5"), "fr");
        assert_eq!(language("ja;q=0, zh-Hans;q=0.1"), "zh");
        assert_eq!(language("it"), "en");
        assert_eq!(language(";;q=,q=x,,*"), "en");
        assert_eq!(language("es;q=7, ja;q=-1, de;q=NaN"), "en");
    }
}
