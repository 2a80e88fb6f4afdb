{% if x %}
x = {{ x }}
{% endif %}
