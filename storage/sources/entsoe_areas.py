"""Energy Identification Codes (EIC) of countries and bidding zones on the ENTSO-E Transparency Platform.

Source: the list of areas in the platform's API guide. The last character of a code is a check character.
"""

from __future__ import annotations

_EIC = {
    "AL": "10YAL-KESH-----5", "AT": "10YAT-APG------L", "BA": "10YBA-JPCC-----D", "BE": "10YBE----------2",
    "BG": "10YCA-BULGARIA-R", "CH": "10YCH-SWISSGRIDZ", "CZ": "10YCZ-CEPS-----N", "DE": "10Y1001A1001A83F",
    "DE_LU": "10Y1001A1001A82H", "DE_AT_LU": "10Y1001A1001A63L", "DE_50HZ": "10YDE-VE-------2",
    "DE_AMPRION": "10YDE-RWENET---I", "DE_TENNET": "10YDE-EON------1", "DE_TRANSNET": "10YDE-ENBW-----N",
    "DK": "10Y1001A1001A65H", "DK_1": "10YDK-1--------W", "DK_2": "10YDK-2--------M", "EE": "10Y1001A1001A39I",
    "ES": "10YES-REE------0", "FI": "10YFI-1--------U", "FR": "10YFR-RTE------C", "GB": "10YGB----------A",
    "GR": "10YGR-HTSO-----Y", "HR": "10YHR-HEP------M", "HU": "10YHU-MAVIR----U", "IE": "10YIE-1001A00010",
    "IE_SEM": "10Y1001A1001A59C", "IT": "10YIT-GRTN-----B", "IT_CALA": "10Y1001C--00096J",
    "IT_CNOR": "10Y1001A1001A70O", "IT_CSUD": "10Y1001A1001A71M", "IT_NORD": "10Y1001A1001A73I",
    "IT_SARD": "10Y1001A1001A74G", "IT_SICI": "10Y1001A1001A75E", "IT_SUD": "10Y1001A1001A788",
    "LT": "10YLT-1001A0008Q", "LU": "10YLU-CEGEDEL-NQ", "LV": "10YLV-1001A00074", "ME": "10YCS-CG-TSO---S",
    "MK": "10YMK-MEPSO----8", "NL": "10YNL----------L", "NO": "10YNO-0--------C", "NO_1": "10YNO-1--------2",
    "NO_2": "10YNO-2--------T", "NO_3": "10YNO-3--------J", "NO_4": "10YNO-4--------9", "NO_5": "10Y1001A1001A48H",
    "PL": "10YPL-AREA-----S", "PT": "10YPT-REN------W", "RO": "10YRO-TEL------P", "RS": "10YCS-SERBIATSOV",
    "SE": "10YSE-1--------K", "SE_1": "10Y1001A1001A44P", "SE_2": "10Y1001A1001A45N", "SE_3": "10Y1001A1001A46L",
    "SE_4": "10Y1001A1001A47J", "SI": "10YSI-ELES-----O", "SK": "10YSK-SEPS-----K",
}  # fmt: skip

_CHARACTERS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ-"


def eic(area: str) -> str:
    """Return the EIC of an area, given by its short name or its EIC. Raises ValueError for other text."""
    if area in _EIC:
        return _EIC[area]
    if _has_valid_check_character(area):
        return area
    raise ValueError(
        f"{area!r} is no area: write an EIC of 16 characters (the last one is a check character) or one of "
        f"{', '.join(_EIC)}"
    )


def _has_valid_check_character(code: str) -> bool:
    """Return whether the last of 16 characters is the check character of the others (ENTSO-E's EIC manual)."""
    if len(code) != 16 or any(character not in _CHARACTERS for character in code):
        return False
    weighted = zip(code, range(16, 1, -1), strict=False)
    total = sum(_CHARACTERS.index(character) * weight for character, weight in weighted)
    return _CHARACTERS.index(code[-1]) == 36 - (total - 1) % 37
