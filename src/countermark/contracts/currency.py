"""Currencies of one model must agree."""

from __future__ import annotations

from collections.abc import Mapping

from countermark.config.contract import Contract
from countermark.config.source import Source
from countermark.errors import ContractError

# Active codes of ISO 4217, without funds, metals and test codes.
_CODES = """
    AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BGN BHD BIF BMD BND BOB BRL BSD BTN BWP BYN BZD CAD CDF CHF CLP
    CNY COP CRC CUP CVE CZK DJF DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GNF GTQ GYD HKD HNL HTG HUF
    IDR ILS INR IQD IRR ISK JMD JOD JPY KES KGS KHR KMF KPW KRW KWD KYD KZT LAK LBP LKR LRD LSL LYD MAD MDL MGA MKD
    MMK MNT MOP MRU MUR MVR MWK MXN MYR MZN NAD NGN NIO NOK NPR NZD OMR PAB PEN PGK PHP PKR PLN PYG QAR RON RSD RUB
    RWF SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP STN SVC SYP SZL THB TJS TMT TND TOP TRY TTD TWD TZS UAH UGX USD
    UYU UZS VED VES VND VUV WST XAF XCD XOF XPF YER ZAR ZMW ZWG
    """
ISO_4217 = frozenset(_CODES.split())


def check_currency(contract: Contract, source: Source, *, file: str | None = None) -> None:
    """Refuse a contract whose money columns are in another currency than the source.

    Args:
        contract: Contract whose ``unit`` fields are compared when they are ISO 4217 codes.
        source: Source with its declared currency.
        file: Contract file, for the error.

    Raises:
        ContractError: If a column's currency differs from the source's.
    """
    units = {name: column.unit for name, column in contract.columns.items()}
    refuse_mixed(units, source, what=f"contract '{contract.name}'", file=file)


def refuse_mixed(units: Mapping[str, str | None], source: Source, *, what: str, file: str | None = None) -> None:
    """Refuse units that are currencies other than the source's.

    Raises:
        ContractError: Naming the columns and both currencies.
    """
    other = {name: unit for name, unit in units.items() if unit in ISO_4217 and unit != source.currency}
    if other:
        raise ContractError(
            f"{what} mixes currencies",
            expected=f"{source.currency}, the currency of source '{source.name}'",
            got=", ".join(f"'{name}' in {unit}" for name, unit in other.items()),
            hint="convert before the data reaches the source, or correct 'unit' or 'currency'",
            file=file,
        )
