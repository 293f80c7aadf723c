"""The backend for a site that has an LDAP server: OpenLDAP, by python-ldap."""
