select *
from t /* all */
where a = 'x'