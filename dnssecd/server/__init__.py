"""The DNS server: listeners, TSIG, access lists, dispatch by opcode, answers.

Entry points: :class:`dnssecd.server.listener.DnsServer`, the protocols in :mod:`dnssecd.server.interfaces`,
:class:`dnssecd.server.acl.ZoneAccess` and :class:`dnssecd.core.dns.tsig.TsigKey`.
"""
