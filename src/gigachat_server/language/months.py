"""The months by their names in many languages, without accents: as nominative, genitive and abbreviation."""

from __future__ import annotations

from gigachat_server.language.characters import folded

_NAMES = (
    """january jan januar januari janvier janv enero ene gennaio gen janeiro ianuarie ian января янв
        январь січня січень leden ledna styczen stycznia sty tammikuu tammikuuta ιανουαριος
        ιανουαριου ocak يناير ژانویه ינואר जनवरी มกราคม""",
    """february feb februar februari fevrier fevr febrero febbraio febb fevereiro fev februarie февраля
        фев февраль лютого лютий unor unora luty lutego helmikuu helmikuuta
        φεβρουαριος φεβρουαριου subat فبراير فوریه פברואר फरवरी กุมภาพันธ์""",
    """march mar marz maerz maart mars marzo marco martie марта март березня березень brezen
        brezna marzec marca maaliskuu maaliskuuta μαρτιος μαρτιου mart marts marcius مارس מרץ मार्च
        มีนาคม""",
    """april apr avril avr abril abr aprile aprilie апреля апр апрель квітня квітень duben
        dubna kwiecien kwietnia huhtikuu huhtikuuta απριλιος απριλιου nisan aprilis أبريل آوریل אפריל
        अप्रैल เมษายน""",
    """may mai mei mayo maggio mag maio maj мая май травня травень kveten kvetna maja toukokuu
        toukokuuta μαιος μαιου mayis majus مايو מאי मई พฤษภาคม""",
    """june jun juni juin junio giugno giu junho iunie июня июн июнь червня червень cerven
        cervna czerwiec czerwca kesakuu kesakuuta ιουνιος ιουνιου haziran junius يونيو ژوئن יוני जून
        มิถุนายน""",
    """july jul juli juillet juil julio luglio lug julho iulie июля июл июль липня липень
        cervenec cervence lipiec lipca heinakuu heinakuuta ιουλιος ιουλιου temmuz julius يوليو ژوئیه
        יולי जुलाई กรกฎาคม""",
    """august aug augustus aout agosto ago августа авг август серпня серпень srpen
        srpna sierpien sierpnia elokuu elokuuta αυγουστος αυγουστου agustos augusztus augusti أغسطس
        اوت אוגוסט अगस्त สิงหาคม""",
    """september sep sept septembre septiembre settembre set setembro septembrie сентября сен
        сентябрь вересня вересень zari wrzesien wrzesnia syyskuu syyskuuta
        σεπτεμβριος σεπτεμβριου eylul szeptember سبتمبر سپتامبر ספטמבר सितंबर กันยายน""",
    """october oct oktober okt octobre octubre ottobre ott outubro out octombrie октября окт
        октябрь жовтня жовтень rijen rijna pazdziernik pazdziernika lokakuu lokakuuta
        οκτωβριος οκτωβριου ekim أكتوبر اکتبر אוקטובר अक्टूबर ตุลาคม""",
    """november nov novembre noviembre novembro noiembrie ноября ноя ноябрь листопада
        листопад listopad listopadu listopada marraskuu marraskuuta νοεμβριος νοεμβριου
        kasim نوفمبر نوامبر נובמבר नवंबर พฤศจิกายน""",
    """december dec dezember dez desember des decembre diciembre dic dicembre dezembro decembrie декабря
        дек декабрь грудня грудень prosinec prosince grudzien grudnia joulukuu joulukuuta
        δεκεμβριος δεκεμβριου aralik ديسمبر دسامبر דצמבר दिसंबर ธันวาคม""",
)

MONTHS: dict[str, int] = {}
for _number, _names in enumerate(_NAMES, 1):
    for _name in _names.split():
        MONTHS.setdefault(folded(_name), _number)
